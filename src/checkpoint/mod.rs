//! Checkpoints at rest: manifest, storage, upload, restore, garbage collection.
