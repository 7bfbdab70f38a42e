"""The pinned packages: recorded notes and sound effects."""

from __future__ import annotations

from semi.assets import Archive, Asset

_INSTEAD = "use a pairs file of your own sounds"

FLUID = Asset(
    name="fluid-soundfont",
    source="debian",
    package="fluidr3mono-gm-soundfont",
    archives=(Archive("2.315-7", "4098301bf29f4253c2f5799a844f42dd4aa733d91a210071ad16d7757dea51d6", 18_726_092),),
    files=("usr/share/fluidr3mono-gm-soundfont/*.sf3", "usr/share/doc/*/copyright"),
    licence="MIT",
    about="recorded notes of the instruments of General MIDI (Frank Wen and others)",
    instead=_INSTEAD,
)

TIM = Asset(
    name="tim-soundfont",
    source="debian",
    package="timgm6mb-soundfont",
    archives=(Archive("1.3-5", "034abdfb296d9353433513dad5dbdcab46425ee6008fc02fe7039b46e75edc54", 5_426_644),),
    files=("usr/share/sounds/sf2/TimGM6mb.sf2", "usr/share/doc/*/copyright"),
    licence="GPL-2.0",
    about="other recorded notes of the instruments of General MIDI (Tim Brechbill)",
    instead=_INSTEAD,
)

SONIC_PI = Asset(
    name="sonic-pi-samples",
    source="debian",
    package="sonic-pi-samples",
    archives=(
        Archive("3.2.2~repack-8", "25f2312d2fae005e6ad0f4726b8ed3084e776006a5a132083506e960224ac79d", 21_882_696),
    ),
    files=("*.flac", "*/samples/README.md", "usr/share/doc/*/copyright"),
    licence="CC0-1.0",
    about="166 short recordings: drums, electronic and ambient sounds",
    instead=_INSTEAD,
)

LMMS = Asset(
    name="lmms-samples",
    source="debian",
    package="lmms-common",
    archives=(Archive("1.2.2+dfsg1-6", "7d9aa55dd05f11edc57104203ee1c350e3e41f8936ab3741da2bb1158fd46c37", 8_263_276),),
    files=("usr/share/lmms/samples/*.ogg", "usr/share/doc/*/copyright"),
    licence="GPL-2.0-or-later",
    about="240 short recordings: drums, basses, effects, instruments",
    instead=_INSTEAD,
)
