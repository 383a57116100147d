"""The vocabulary of `answer_parser`, in the most common languages: data only.

The keys are the one-character kinds of the parser's patterns. If a phrase has two kinds, the first counts, and longer
phrases take precedence over shorter ones. Words in no list are not considered harmless: they invalidate a statement.
"""

from __future__ import annotations

from collections.abc import Mapping

# Phrases are separated by " / ".

VOCABULARY: Mapping[str, str] = {
    # an answer, which an option can be
    "N": """answer / answer choice / ans / solution / conclusion / verdict / decision / prediction
        / final answer / final choice / final decision / final response / final verdict / final / correction
        / my choice / my pick / my selection / my guess / best guess / closest match / best match / closest fit
        / result / output / selection / predicted answer / short answer / quick answer / most accurate description
        / most likely description / correct description / most fitting description / accurate description
        / best fit / best description / response / answer key / respuesta / solución
        / réponse / antwort / lösung / resposta / a resposta / gabarito / o gabarito / ответ / ответом
        / 答案 / 答 / 解答 / 回答 / 答え / 正解 / 정답 / 정답은 / 답 / 답변 / उत्तर / जवाब / الإجابة
        / الجواب / الاجابة / risposta / la risposta / antwoord / cevap / yanıt / odpowiedź / odpověď / svar
        / svaret / відповідь / đáp án / câu trả lời / jawaban / jawabannya / คำตอบ / คำตอบที่ถูกต้อง / 正答
        / вариант ответа / правильный вариант ответа / vastaus / oikea vastaus / válasz / a helyes válasz
        / răspunsul / răspunsul corect / απάντηση / η απάντηση / η σωστή απάντηση / התשובה / התשובה הנכונה""",
    # what letters name
    "O": """option / choice / letter / opción / la opción / alternativa / a alternativa / letra / a letra
        / inciso / literal / l'option / choix / le choix / lettre / la lettre / buchstabe / variante / opção
        / a opção / вариант / вариантом / буква / пункт / 选项 / 選項 / 选择项 / 项 / 項 / 選択肢 / 선택지
        / 보기 / 번 / विकल्प / الخيار / opzione / lettera / optie / seçenek / opcja / možnost / lựa chọn
        / pilihan / opsi / ข้อ / correct one / right one / best one""",
    # right, without reserve
    "G": """better / correct / right / best / true / most likely / more likely / most probable / more probable
        / most plausible / more plausible / most accurate / more accurate / most appropriate
        / more appropriate / most suitable / most fitting / most consistent / more consistent
        / most reasonable / most logical / best supported / closest / most closely / most accurately
        / more closely / most precisely / selected / chosen / remaining / fits best / matches best / ✅ / ✓
        / ✔ / ☑ / correcta / correcto / bonne / bon / correcte / exacte / juste / richtige / richtig
        / korrekt / korrekte / zutreffend / zutreffende / beste / correta / correto / certa / certo
        / правильный / правильная / правильным / правильно / верный / верная / верно / верным / 正确 / 正確
        / 正确的 / 正確的 / 对的 / 对 / 最佳 / 最合适 / 最合适的 / 最符合 / 正しい / 最も適切 / 最も適切な
        / 最適な / 最も正しい / 올바른 / 맞는 / 옳은 / 맞습니다 / 맞다 / 옳습니다 / 가장 적절한 / सही
        / الصحيحة / الصحيح / صحيح / corretta / giusta / juiste / goede / doğru / prawidłowa / poprawna
        / správná / rätt / правильна / đúng / benar / yang benar / yang tepat / yang paling tepat / rigtige
        / riktig / makes the most sense
        / the only one that fits / the one that fits / the only one that matches / the one that matches
        / 가장 적절합니다""",
    # may qualify "answer", but says nothing alone
    "g": """likely / probable / accurate / appropriate / suitable / optimal / proper / definitive / official
        / closely / accurately / overall / final / finale / última / définitive / endgültige / окончательный
        / итоговый / 最终 / 最終 / 最终的 / 最終的な / 최종 / अंतिम / النهائية / kesin / cuối cùng / akhir""",
    # wrong, or not the one
    "R": """wrong / incorrect / false / inaccurate / unlikely / improbable / implausible / least / less / lesser
        / worst / worse / rejected / reject / rejects / eliminated / eliminate / eliminates / excluded
        / exclude / excludes / excluding / ruled out / rule out / rules out / ruling out / discard
        / discarded / dismiss / dismissed / mistake / mistaken / trick / red herring / a lie / a joke / error
        / erroneous
        / invalid / unsupported
        / irrelevant / distractor / decoy / trap / second / third / runner / next / other / except / avoid
        / opposite / nope / impossible / ❌ / ✗ / ✘ / ✖ / × / tempting / misleading / hardly / doubtful
        / questionable / doubt / disagree / weak / weaker / weakest / poor / far from / anything but
        / all but / everything but / cross out / misses / fails / contradicts / contradict / contradicted
        / refuted / flawed / off / incorrectly / unfounded / falsch / falsche / falschen / unwahrscheinlich
        / unwahrscheinlichste / inkorrekt / schlechteste / ausgeschlossen / außer / incorrecta / incorrecto
        / falsa / falso / errónea / equivocada / descartada / descarto / descartar / menos / peor / excepto
        / salvo / mauvaise / fausse / faux / incorrecte / moins / pire / sauf / éliminer / exclure
        / éliminée / exclue / errada / errado / incorreta / incorreto / pior / exceto / excluir / eliminar
        / неверный / неверно / неверная / неправильный / неправильно / неправильная / ошибочный / ошибочно
        / ложный / исключить / исключаем / наименее / кроме / 错误 / 錯誤 / 不正确 / 不正確 / 不对 / 错 / 錯
        / 错的 / 排除 / 干扰项 / 最不 / 除了 / 間違い / 間違って / 誤り / 誤答 / 不正解 / 違い / 除外 / 除く
        / 오답 / 틀린 / 틀렸 / 아닌 / 제외 / 틀립니다 / 잘못된 / गलत / خاطئة / خطأ / الخاطئة / sbagliata
        / errata / onjuist / verkeerd / verkeerde / fout / yanlış / sai / salah / błędna / yang salah / špatná / fel
        / неправильна""",
    # not
    "X": """not / no / n't / never / none / neither / nor / cannot / can't / isn't / aren't / wasn't / doesn't
        / don't / didn't / won't / wouldn't / shouldn't / couldn't / nobody / nothing / without / ain't
        / hasn't / haven't / nicht / kein / keine / nie / weder / nunca / ni / tampoco / non / ne / n'est
        / pas / jamais / não / nem / не / нет / ни / 不 / 不是 / 没 / 没有 / 無 / 非 / 否 / 别
        / のではありません / のではない / ではありません / ではない / ではなく / ではなくて
        / じゃない / じゃなくて / じゃなく / でなく / ありません / ない / 아닙니다
        / 아니다 / 아니라 / 아니고
        / 아니에요 / 않 / नहीं / ليس / ليست / لا / niet / geen / inte / ikke / değil / không / bukan / tidak
        / ไม่ / nicht die / no es""",
    # supposed or weighed
    "H": """allegedly / supposedly / reportedly / ostensibly / apparently / might / could / may / maybe
        / perhaps / possibly / possible / potentially / for the first / for the second / for the former
        / for the latter / for question
        / for part / for video / for clip / so is / so are / so does / one by one / one at a time / conceivably
        / either / between / both / plausible
        / seemed / guessed / assumed / torn / unsure / uncertain / unclear / consider / considering
        / considered / versus / vs / candidate / contender / alternative / another / vielleicht / eventuell
        / könnte / möglicherweise / entweder / quizás / quizá / podría / puede / tal vez / peut-être
        / pourrait / soit / talvez / poderia / pode / возможно / может / либо / 也许 / 或许 / 可能 / 可能是
        / かもしれません / かもしれない / かも / 아마 / 수도 / शायद / ربما / forse / misschien / belki
        / có thể""",
    # of another time
    "h": """was / initially / first / originally / previously / previous / earlier / glance / thought / before
        / after / later / also / partially / partly / until / once / sometimes / zunächst / primero / abord
        / primeiro / сначала / 一开始 / 最初 / 처음""",
    # conditions
    "J": """if / unless / whether / suppose / supposing / assume / assuming / imagine / hypothetically
        / otherwise / were to / provided that / in case / wenn / falls / ob / sofern / angenommen / hätte
        / si / siempre que / supposons / supongamos / caso / suponha / если / предположим / 如果 / 假如
        / 假设 / 若 / もし / 仮に / 만약 / 만일 / अगर / यदि / إذا / لو / als / eğer / nếu / jika""",
    # what somebody else thinks
    "A": """example / for example / for instance / instance / e.g. / format / template / sample / instruction
        / instructions / prompt / says / said / claim / claims / claimed / argue / argues / argued / tells
        / told / stated / states / asserts / suggested / answered / answers / replied / wrote / user
        / teacher / student / most people / many people / some people / others / everyone else / the majority
        / most viewers / classmate / friend / expert / model / critic / skeptic / temptation / dice
        / dicen / diría / dit / disent / sagt / sagen / diz / dizem / говорит / говорят / считают
        / утверждает / 有人 / 有些人 / と言う人 / 어떤 사람""",
    # is
    "=": """is / be / equals / lautet / ist / wäre / es / sería / est / é / seria / seems / appears / looks
        / remains / 是 / looks like / seems like / 为 / 為 / は / が / 은 / 는 / 이 / 가 / هي / هو / è / sarà
        / dir / är / является
        / будет / это / adalah / là / คือ / jest / to jest / je / bleibt / serait / sera / seems to be
        / appears to be / should be / must be / would be / has to be / ought to be / will be
        / is going to be / is therefore / este / είναι / היא / 应该是 / 應該是 / 应为 / 应该为 / 就是 / 应是
        / として""",
    # would, must
    "m": """would / should / must / will / can / has to / ought to / 'll / 'd / have to / würde / werde / zou / 应该
        / 应 / 該 / muss
        / debe / doit / deve""",
    # choose
    "V": """i choose / i pick / i select / i go with / i would choose / i would pick / i will choose / i will go with
        / i lean towards / i lean toward / i would lean towards / i'd lean towards / i'd lean toward
        / i'm leaning towards
        / i am leaning towards / odpowiedź to / poprawna odpowiedź to / prawidłowa odpowiedź to / wählen / nehmen
        / kiezen
        / choose / select / pick / go with / going with / go for / going for / opt for / settle on / choosing
        / selecting / picking / vote for / elijo / escojo / selecciono / choisis / wähle / nehme / escolho
        / seleciono / marco / i prefer / det rigtige svar er / det riktige svaret er / riktig svar er
        / vastaus on / oikea vastaus on / выбираю / выберу / выбрать / 选择 / 選擇
        / 选 / 選 / 应选 / 应选择 / 应该选 / 应该选择 / 选出
        / 선택합니다 / scelgo / kies""",
    # fits
    "U": """describes / matches / fits / captures / reflects / summarizes / summarises / represents / aligns
        / corresponds / answers the question / explains / characterizes / encapsulates / aligns with
        / corresponds to / describe / match / summarize""",
    # who speaks, and what about
    "P": """ik / mi / minha / meu / mon / ma / mein / meine / мой / моя / 我的 / 私の / 제 / i / let me
        / il s'agit de / we / my / our / it / it's / this / that's / i'd / i'm / i'll / i've / we'd / let's
        / here's / c'est / ich / yo / je / eu / nous / я / 我 / 我们 / 私 / 저는 / he elegido / im / um
        / that would be / that'd be / that must be / that has to be""",
    # beliefs
    "K": """i think / i believe / i guess / i feel / i conclude / confidence / think / believe / say / guess
        / conclude / feel / reckon / infer / deduce / determine / confident
        / sure / certain / clear / evident / obvious / mean / means / suggest / suggests / indicate
        / indicates / show / shows / imply / implies / see / am / find / confirm / confirms / points
        / support / supports / depict / depicts / leads / bet / meant / glaube / denke / meine / creo
        / pienso / considero / crois / pense / acho / creio / acredito / думаю / считаю / полагаю / 认为
        / 觉得 / 相信 / 判断 / 可知 / 思う / 考える / 생각합니다 / credo / penso""",
    # what was looked at
    "E": """video / videos / clip / captions / caption / footage / evidence / scene / frames / context
        / description / analysis / observation / information / actions / transcript / vídeo / vidéo / видео / 视频内容
        / 视频 / 影片 / 動画 / 비디오 / 영상""",
    # harmless
    "F": """of the given options / of the options / of these options / of all options / of all the options
        / among the options / among the given options / from the given options / if i had to choose
        / if i had to guess / if i had to pick / if i have to choose / if i have to guess
        / if i'm not mistaken / if i am not mistaken / unless i'm mistaken / unless i am mistaken / if i'm not wrong
        / it follows that
        / if i must choose / if forced to choose / forced to choose / if pressed / if i were to choose
        / if i were to guess / oh
        / after analyzing the video / after analyzing the options / after reviewing the video
        / after reviewing the options / after watching the video / after careful consideration
        / considering all options / considering all the options / considering the options
        / considering the evidence
        / fairly / pretty / alright / all things considered / considering everything
        / out of the options
        / absolutely / totally / strongly / the / very / clearly / definitely
        / certainly / probably / surely / indeed / then / simply / just / here / to be / presumably
        / undoubtedly / obviously / evidently / quite / really / now / yes / ok / okay / well / so far
        / only / single / actual / still / in fact / in this case / for this question / to the question
        / to this question / la / le / les / el / los / das / der / die / den / dem / lo / il / de / os / as
        / donc / dann / also ist / wohl / claramente / claro / entonces / wahrscheinlich / wahrscheinlichste
        / probablement / probablemente / provavelmente / probable / segura / sicher / sicherlich
        / скорее всего / вероятно / наиболее / точно / 最 / 该 / 這 / 这 / 题 / 本题 / 本題 / 这个问题的
        / 的 / 那么 / 就 / この / その / 問題の / たぶん / 恐らく / 이 질문의 / 질문의 / het / en / un / une
        / for sure / question / with high confidence / 100% / 100 percent / with confidence / with certainty
        / zum / zur / 大概
        / 显然 / most""",
    # because
    "B": """because / since / as / due / given / based / according / considering that / for the / here because
        / weil / da / denn / porque / ya que / pues / car / parce que / puisque / pois / потому / поскольку
        / так как / 因为 / 因為 / 由于 / なぜなら / ので / から / 왜냐하면 / 때문 / क्योंकि / لأن / perché
        / omdat / çünkü / vì / karena / 理由""",
    # instead of, more than
    "I": """almost / nearly / half / semi / borderline / at least / at most / up to / under / fewer / fewer than
        / more than / less than
        / instead / instead of / rather than / over / than / and not / as opposed to / unlike / statt
        / anstatt / en lugar de / au lieu de / plutôt que / em vez de / вместо / а не / 而不是 / 而非 / y no
        / und nicht / et non / e não / better than""",
    # so
    "C": """that makes it / this makes it / by elimination / by process of elimination / by the process of elimination
        / through elimination / which makes it / making it / that leaves / this leaves / which leaves
        / leaving only / so / thus / hence / therefore
        / consequently / accordingly / overall / finally / in conclusion / in summary / ultimately
        / as a result / in short / to conclude / to sum up / ∴ / ⇒ / also / deshalb / daher / folglich
        / somit / entonces / por lo tanto / por tanto / así que / donc / ainsi / par conséquent / portanto
        / logo / assim / поэтому / следовательно / значит / итак / таким образом / 因此 / 所以 / 故 / 综上
        / 综上所述 / 于是 / 由此 / したがって / よって / だから / 従って / 따라서 / 그러므로 / 그래서
        / इसलिए / لذلك / إذن / quindi / dus / bu nedenle / vì vậy / jadi""",
    # a reply that corrects itself
    "W": """wait / hmm / hm / then again / actually / oops / sorry / correction : / revised answer / updated answer
        / corrected answer / new answer / edit : / update : / revised :
        / revision : / amended : / ignore that / disregard that / forget that
        / cancel that / ignore the above / disregard the above / ignore my answer / disregard my answer
        / on second thought / on second thoughts / scratch that / scrap that
        / make that / i mean / i meant / changed my mind / i changed my mind / i've changed my mind / april fools
        / don't trust that / i no longer think so / i don't think so
        / let me reconsider / let me rethink / let me re-think / let me think again / let me check again
        / hold on / my mistake / strike that / never mind / nevermind / i take that back / i take it back
        / on reflection / upon reflection / reconsidering / rethinking / to correct myself / i was wrong
        / i misread / i misspoke / my bad / apologies / i apologize / just kidding / moment mal / moment ,
        / warte / doch nein / espera / perdón / perdona / corrección / attendez / attends / pardon / en fait
        / en realidad / na verdade / espere / desculpe / correção / tatsächlich / korrektur / подождите
        / стоп / извините / вернее / 等等 / 等一下 / 抱歉 / 更正 / 不对 , / いや / 待って / 訂正 / 잠깐
        / 아니 , / 죄송 / 정정""",
    # but
    "c": """but / on the other hand / alternatively / that said / having said that / however
        / yet / although / though / while / whereas / nevertheless / nonetheless / despite
        / even if / even though / still , / aber / jedoch / sondern / obwohl / während / pero / sino
        / aunque / mientras / sin embargo / mais / cependant / bien que / toutefois / mas / porém / embora
        / enquanto / но / однако / хотя / а / 但 / 但是 / 而是 / 然而 / 虽然 / しかし / でも / ですが
        / が 、 / 하지만 / 그러나 / 그렇지만 / लेकिन / لكن / بل / ma / maar""",
    # endings of assertions in verb-final languages
    "T": """を選びます / を選択します / を選ぶ / です / だ / である / になります / となります / でしょう
        / だと思います / だと思う / と思います / と思う / だと考えます / です。 / 입니다 / 이다 / 예요 / 이에요
        / 이라고
        / 라고 생각합니다 / 라고 / 을 선택합니다 / 를 선택합니다 / 号 / 番 / 呢 / है / olur / 'dir / 로
        / 으로""",
    # that
    "t": """i.e. / i.e / namely / that / which / who / dass / que / qu'il / что / と""",
    # prepositions
    "r": """to / for / of / in / about / from / on / at / by / a la / por / para / pour / à / auf / zu / an / на
        / в / 对 / 关于""",
    # or
    "|": """or / oder / ou / или / либо / 或 / 或者 / 还是 / 還是 / または / 又は / 또는 / 혹은 / या / أو / of
        / lub / atau / hoặc / veya""",
    # and
    "&": """and / und / y / et / и / 和 / 与 / 及 / と / & / + / e também / 및 / 와 / 과 / और / و / en ook
        / along with""",
}
