//! Facts on disk, partitioned by the hash of what they are about.

use crate::protocol::Failure;
use serde::{Serialize, de::DeserializeOwned};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Seek, SeekFrom, Write};
use std::marker::PhantomData;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Bytes that are buffered for each bucket: 256 buckets take 8 MiB.
const BUFFER: usize = 32 * 1024;

/// Files that take facts. They have no names, so nothing is left behind, whatever happens.
pub(super) struct Spill<T> {
    files: Vec<BufWriter<File>>,
    scratch: Vec<u8>,
    facts: PhantomData<fn(T)>,
}

impl<T: Serialize + DeserializeOwned> Spill<T> {
    pub(super) fn new(dir: &Path, buckets: u64) -> Result<Self, Failure> {
        let file = |_| tempfile::tempfile_in(dir).map(|file| BufWriter::with_capacity(BUFFER, file));
        let files = (0..buckets.max(1)).map(file).collect::<Result<Vec<_>, _>>().map_err(|error| {
            Failure::fatal(format!(
                "cannot create a temporary file in {}: {error}; choose another folder with TMPDIR",
                dir.display()
            ))
        })?;
        Ok(Self { files, scratch: Vec::new(), facts: PhantomData })
    }

    pub(super) fn buckets(&self) -> u64 {
        self.files.len() as u64
    }

    /// Files `fact` under `about`: all facts about the same thing come out in one bucket, in the order in which they went in.
    pub(super) fn put(&mut self, about: &[u8], fact: &T) -> Result<(), Failure> {
        self.scratch.clear();
        rmp_serde::encode::write(&mut self.scratch, fact).map_err(failed)?;
        let bucket = (xxh3_64(about) % self.buckets()) as usize;
        if let Some(file) = self.files.get_mut(bucket) {
            let length = self.scratch.len() as u32;
            file.write_all(&length.to_le_bytes()).and_then(|()| file.write_all(&self.scratch)).map_err(failed)?;
        }
        Ok(())
    }

    /// The buckets, one after the other; each frees its disk space when it is dropped.
    pub(super) fn into_buckets(self) -> Result<impl Iterator<Item = Bucket<T>>, Failure> {
        let mut files = Vec::with_capacity(self.files.len());
        for file in self.files {
            let mut file = file.into_inner().map_err(failed)?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            files.push(file);
        }
        Ok(files.into_iter().map(|file| Bucket { file: BufReader::with_capacity(BUFFER, file), facts: PhantomData }))
    }
}

/// The facts of one bucket.
pub(super) struct Bucket<T> {
    file: BufReader<File>,
    facts: PhantomData<fn() -> T>,
}

impl<T: DeserializeOwned> Bucket<T> {
    /// Hands over every fact, in the order in which they were filed.
    pub(super) fn read(mut self, mut each: impl FnMut(T) -> Result<(), Failure>) -> Result<(), Failure> {
        let mut fact = Vec::new();
        let mut length = [0; 4];
        loop {
            match self.file.read_exact(&mut length) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::UnexpectedEof => return Ok(()),
                Err(error) => return Err(failed(error)),
            }
            fact.resize(u32::from_le_bytes(length) as usize, 0);
            self.file.read_exact(&mut fact).map_err(failed)?;
            each(rmp_serde::from_slice(&fact).map_err(failed)?)?;
        }
    }
}

fn failed(error: impl std::fmt::Display) -> Failure {
    Failure::fatal(format!("the audit's temporary files: {error} (is the disk full?)"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    #[test]
    fn facts_about_one_thing_are_in_one_bucket_in_order() {
        // given 1,000 facts about 100 things
        let mut spill = Spill::<(String, u32)>::new(&std::env::temp_dir(), 7).unwrap();
        for number in 0..1_000 {
            let about = format!("thing {}", number % 100);
            spill.put(about.as_bytes(), &(about.clone(), number)).unwrap();
        }
        // when they are read back bucket by bucket
        let mut seen: BTreeMap<String, (usize, Vec<u32>)> = BTreeMap::new();
        for (bucket, facts) in spill.into_buckets().unwrap().enumerate() {
            facts
                .read(|(about, number)| {
                    let entry = seen.entry(about).or_insert((bucket, vec![]));
                    assert_eq!(entry.0, bucket);
                    entry.1.push(number);
                    Ok(())
                })
                .unwrap();
        }
        // then each thing has all of its facts, in order
        assert_eq!(seen.len(), 100);
        for (_, numbers) in seen.values() {
            assert!(numbers.len() == 10 && numbers.is_sorted());
        }
    }
}
