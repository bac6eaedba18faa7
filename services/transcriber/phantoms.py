"""Phrases that Whisper is known to invent, in many languages.

Collected from what its users report (openai/whisper discussions, "hallucination" word lists of several projects) and
from the subtitles it was trained on. Credits are said by hardly anybody; farewells are said at the end of every other
video, so they need more evidence against them. All are compared with `honesty.plain` text: lower case, words only.
"""

from __future__ import annotations

# ruff: noqa: E501  (one phrase in all its forms reads better on one line)
import re
from typing import Final

_CREDITS: Final = (
    # English
    r"(subtitles?|captions?|subbed|closed captioning|captioning|translation|translated|transcription|transcribed|transcript) (created |provided |made |edited )?(by|from) .{2,60}",
    r"(www )?[a-z0-9]+ (com|org|net|tv|ru)",
    r".*\bamara ?org\b.*",
    r".*\botter ai\b.*",
    r"(c|copyright) .{0,30}\b(ard|zdf|wdr|swr|ndr|br|bbc|abc|cbc)\b.{0,20}",
    # German
    r"untertitel(ung)?( im auftrag)?( des| der| von| fur| für| f r)? ?(zdf|ard|wdr|swr|ndr|br|orf|srf|funk|amara|stephanie geiges).*",
    r"untertitelung( \d{4})?",
    r"untertitel (der|von|des) .{2,50}",
    r"(swr|wdr|ndr|zdf|ard|br) \d{4}",
    # French
    r"sous titr(es|age)( st)?( ?\d{3})?( (réalisés?|realisés?|realises?|faits?|par|société|societe|de|fr|radio|ralis).{0,60})?",
    # Spanish, Portuguese, Italian, Catalan
    r"subt[ií]tulos? (realizados? |creados? |hechos? )?(por|de) .{2,60}",
    r"legendas? (feitas? |criadas? )?(por|pela|pelo|de|tv) .{2,60}",
    r"sottotitoli( e revisione)?( creati| a cura| fatti)? (di|da|dalla|dal|by) .{2,60}",
    r"subtítols (per|de|realitzats) .{2,60}",
    # Dutch, Scandinavian, Finnish
    r"ondertitel(s|d|ing)( door| ingediend door| nos| tt888).{0,60}",
    r"(undertexter?|undertekster?|textning|tekstet|teksting|svensktextning)( av| fra| från| ai media| nicolai winther| tekstet).{0,60}",
    r"(suomentanut|tekstitys) .{2,40}",
    # Polish, Czech, Russian, Ukrainian, Turkish, Arabic
    r"(napisy|tłumaczenie)( stworzone przez| wykona[łl]| by| i synchro| zrobi).{0,60}",
    r"titulky (vytvo[rř]il|od|p[rř]elo[zž]il).{0,60}",
    r"(редактор субтитров|корректор|субтитры (и перевод |создавал |сделал |делал |подогнал |подготовил |предоставил |от |dimatorzok)).{0,60}",
    r"субтитри .{2,40}",
    r"(altyaz[ıi]|çeviri)( ve)? ?(m k|çeviri|by).{0,40}",
    r"ترجمة .{2,40}",
    # Chinese, Japanese, Korean
    r"(中文)?字幕 ?(由|by|志愿者|志願者|提供|製作|制作|組|组|j chong|李宗盛).{0,40}",
    r".*明镜与点点.*|.*明鏡與點點.*|.*请不吝点赞.*|.*請不吝點贊.*|.*請不吝點讚.*",
    r"(作詞|作词|作曲|編曲|编曲)( |・)?.{0,40}",
    r"(한글 ?)?자막( ?제공| ?제작| by).{0,40}",
    r"mbc 뉴스 .{2,20}",
)

_FAREWELLS: Final = (
    # English
    r"(ok(ay)? |so |all right |alright )?(thanks|thank you)( so much| very much| all| guys| everyone)?( for (watching|listening|your attention|viewing|joining us|tuning in))?( and)?( (please |dont forget to |don t forget to )?(like|subscribe|share).{0,40})?",
    r"(please |dont forget to |don t forget to |remember to )?(like and )?subscribe.{0,40}",
    r"(ill |i ll |i will |well |we ll )?see you( guys| all| then)?( again)?( soon| later)?( in the)?( next)?( time| video| week| one)?",
    r"(good)?( ?bye)+( bye)*",
    r"you",
    r"the end",
    r"i m sorry|im sorry",
    # German, Dutch, Scandinavian
    r"(vielen dank|danke)( schön)?( fürs?| für das)?( zuschauen| zusehen| zuhören| ihre aufmerksamkeit| die aufmerksamkeit)?",
    r"(das war s|das wars) für heute|bis zum nächsten mal|bis bald|tschüss|auf wiedersehen",
    r"bedankt voor het (kijken|luisteren)|tot de volgende( keer)?|dank u( wel)?",
    r"tack för att (ni|du) (har )?(tittat|tittade|lyssnade|tittar)|tack så mycket|takk for at (du|dere) så på|takk for (nå|at)|tak fordi (du|i) så med|kiitos( kun katsoit| katsomisesta)?",
    # French, Spanish, Portuguese, Italian
    r"merci( beaucoup)?( d avoir (regardé|visionné|suivi|écouté).{0,30}| à (tous|vous).{0,30}| de votre (attention|visionnage))?|(n oubliez pas de vous )?abonn(ez vous|er).{0,40}|à bientôt|au revoir",
    r"(muchas )?gracias( por (ver|su atención|escuchar|mirar).{0,30})?|¡?suscr[ií]bete.{0,40}|hasta la próxima",
    r"(muito )?obrigad[oa]( por (assistir|ver).{0,30})?|inscreva se.{0,40}|até a próxima|tchau",
    r"grazie( mille)?( per (la visione|aver guardato|l attenzione|l ascolto).{0,30})?|iscrivetevi.{0,40}|alla prossima",
    # Slavic, Turkish, Greek, Hebrew, Arabic, Persian
    r"(большое )?спасибо( (за|всем|вам) .{0,30})?|подписывайтесь.{0,40}|продолжение следует|до свидания|дякую( за .{0,30})?|дякуємо за .{0,30}",
    r"dzi[ęe]kuj[ęe](my)?( za (uwag[ęe]|ogl[ąa]danie|obejrzenie).{0,30})?|děkuj[ui](eme)?( (vám )?za (pozornost|sledování).{0,30})?|ďakujem(e)? za .{0,30}",
    r"izlediğiniz için teşekkür(ler| ederim| ederiz)|teşekkür(ler| ederim)|abone ol.{0,40}|altyazı m k",
    r"ευχαριστώ( πολύ)?( που .{0,30})?|תודה( רבה)?( על ה?צפייה.{0,10})?|שלום",
    r"شكرا( (على|ل|لكم).{0,30})?|شكرًا.{0,30}|اشتركوا في القناة.{0,20}|متشکرم|با تشکر.{0,20}",
    # Chinese, Japanese, Korean, Vietnamese, Thai, Indonesian, Hindi
    r"(谢谢|謝謝|感谢|感謝|多谢|多謝)(大家|你|您|各位)?的?(观看|觀看|收看|收听|收聽|聆听)?|(记得|記得)?(订阅|訂閱).{0,20}|(我们|我們)?下(次|期|集)(再见|再見|见|見)|拜拜|再见|再見",
    r"(最後まで)?(ご視聴|ご清聴|ご覧)(いただき|頂き)?(誠に)?(ありがとう|有難う)(ございました|ございます)?|(それでは)?(また)?(次回|次の動画|次の映像)で?(お会いしましょう|会いましょう)|チャンネル登録.{0,30}|おやすみなさい|ありがとうございました|バイバイ",
    r"(오늘도 )?(끝까지 )?(시청|구독|들어)해 ?주셔서 감사합니다|시청해주셔서 감사합니다|감사합니다|구독과 좋아요.{0,20}|다음 영상에서 만나요|다음 (시간|주)에 .{0,20}",
    r"cảm ơn (các )?bạn đã (theo dõi|xem|lắng nghe).{0,40}|hãy (subscribe|đăng ký).{0,60}|hẹn gặp lại.{0,40}",
    r"ขอบคุณ.{0,20}|terima kasih( telah| sudah| kerana)? ?(menonton|mendengarkan)?|jangan lupa .{0,40}|धन्यवाद|देखने के लिए धन्यवाद",
)

_CREDIT = re.compile("|".join(f"(?:{pattern})" for pattern in _CREDITS))
_FAREWELL = re.compile("|".join(f"(?:{pattern})" for pattern in _FAREWELLS))


def is_credit(text: str) -> bool:
    """Says whether a plain text is a subtitle credit and nothing else."""
    return _CREDIT.fullmatch(text) is not None


def is_farewell(text: str) -> bool:
    """Says whether a plain text is a farewell, a thank-you or a plea to subscribe, and nothing else."""
    return bool(text) and _FAREWELL.fullmatch(text) is not None
