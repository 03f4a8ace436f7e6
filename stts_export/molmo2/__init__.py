"""All that belongs to Molmo2 on the export side: what its checkpoints say and how, its marks, its processor's settings,
and transformers' own model to compare with. The rest of `stts_export` deals with a `ModelConfig` and weights by our
names. docs/architecture.md says where another base model comes in.
"""
