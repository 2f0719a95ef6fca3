//! Chunks of one state, sorted into a file that RocksDB takes over.

use super::{StateId, Store, chunk::Chunk};
use crate::protocol::Failure;
use rocksdb::SstFileWriter;

/// Chunks that were gathered and not yet written.
#[derive(Debug, Default)]
pub(super) struct Run {
    chunks: Vec<Chunk>,
    memory: usize,
    entries: usize,
}

/// An entry's place, with the part of its key that usually decides the order.
#[derive(Clone, Copy)]
struct Item {
    /// Key group, then the fourteen bytes that follow what all keys have in common.
    head: u128,
    chunk: u32,
    entry: u32,
}

impl Run {
    pub(super) fn push(&mut self, chunk: Chunk) {
        self.memory += chunk.memory();
        self.entries += chunk.len();
        self.chunks.push(chunk);
    }

    pub(super) fn memory(&self) -> usize {
        self.memory
    }

    pub(super) fn entries(&self) -> usize {
        self.entries
    }

    pub(super) fn is_empty(&self) -> bool {
        self.chunks.is_empty()
    }

    pub(super) fn chunks(&self) -> &[Chunk] {
        &self.chunks
    }

    fn key(&self, item: &Item) -> &[u8] {
        self.chunks.get(item.chunk as usize).map_or(&[], |chunk| chunk.key(item.entry as usize))
    }

    /// All entries by key; of several with the same key, in the order of arrival.
    fn sorted(&self) -> Vec<Item> {
        let common = self.common_prefix();
        let mut items = Vec::with_capacity(self.entries);
        for (c, chunk) in self.chunks.iter().enumerate() {
            items.extend((0..chunk.len()).map(|e| Item { head: head(chunk.key(e), common), chunk: c as u32, entry: e as u32 }));
        }
        items.sort_unstable_by(|a, b| {
            a.head
                .cmp(&b.head)
                .then_with(|| self.key(a).cmp(self.key(b)))
                .then_with(|| (a.chunk, a.entry).cmp(&(b.chunk, b.entry)))
        });
        items
    }

    /// How many bytes after the key group all keys share.
    fn common_prefix(&self) -> usize {
        let mut keys = self.chunks.iter().flat_map(|chunk| (0..chunk.len()).map(|e| chunk.key(e).get(2..).unwrap_or_default()));
        let Some(first) = keys.next() else { return 0 };
        let mut common = first.len();
        for key in keys {
            if common == 0 {
                break;
            }
            common = first.iter().zip(key).take(common).take_while(|(a, b)| a == b).count();
        }
        common
    }

    /// Writes everything into `state` as one sorted file, and forgets it; gives the bytes of the file.
    pub(super) fn write(&mut self, store: &Store, state: StateId, file_number: u64) -> Result<u64, Failure> {
        let path = store.sorted_file(file_number);
        let failed = |error: rocksdb::Error| Failure::attempt(format!("local state: cannot write {}: {error}", path.display()));
        let mut file = SstFileWriter::create(store.file_options());
        file.open(&path).map_err(failed)?;
        let items = self.sorted();
        let mut rest = items.iter().peekable();
        while let Some(item) = rest.next() {
            let key = self.key(item);
            if rest.peek().is_some_and(|next| next.head == item.head && self.key(next) == key) {
                continue; // a later one of the same key follows
            }
            match self.chunks.get(item.chunk as usize).and_then(|chunk| chunk.value(item.entry as usize)) {
                Some(value) => file.put(key, value).map_err(failed)?,
                None => file.delete(key).map_err(failed)?,
            }
        }
        file.finish().map_err(failed)?;
        let size = file.file_size();
        drop(file);
        store.ingest(state, path)?;
        *self = Self::default();
        Ok(size)
    }
}

/// The group (two bytes), then fourteen bytes from `common` on, missing ones as zero: orders keys up to ties.
fn head(key: &[u8], common: usize) -> u128 {
    let mut head = [0_u8; 16];
    let group = key.get(..2).unwrap_or_default();
    let tail = key.get(2 + common..).unwrap_or_default();
    for (to, from) in head.iter_mut().zip(group.iter().chain(tail)) {
        *to = *from;
    }
    u128::from_be_bytes(head)
}
