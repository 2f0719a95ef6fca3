//! What only a real server of buckets can show. `make test` starts one; without it these tests are skipped, and say so.

use super::{
    Executor, Location, Storage, Uploaded,
    conformance::{MINUTE, checkpoint, contents, job, snapshot},
    location::Connected,
};
use crate::protocol::{CheckpointId, FailureKind};
use futures::TryStreamExt;
use object_store::{
    ObjectStore, ObjectStoreExt,
    aws::{AmazonS3, AmazonS3Builder},
    path::Path as ObjectPath,
    signer::{SignedUrlOptions, Signer},
};
use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    io::{Read, Write},
    net::{Shutdown, TcpListener, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

/// Names the bucket that tests may write to; the address and the keys are in the variables of the service itself.
const BUCKET: &str = "SLUICEGATE_TEST_BUCKET";
/// Parts of an upload, see `upload.rs`.
const PART: usize = 8 << 20;

/// A place of its own in the bucket of the tests; none, with a word, when there is no server.
pub(super) fn location() -> Option<Location> {
    let Ok(bucket) = std::env::var(BUCKET) else {
        eprintln!("skipped: no server of buckets ({BUCKET} is not set)");
        return None;
    };
    let place = format!("{bucket}/test-{:016x}", RandomState::new().hash_one(Instant::now()));
    Some(place.parse().unwrap())
}

/// A runtime for real connections, whose clock is that of the world.
pub(super) fn real_time() -> Executor {
    Executor::Own(Arc::new(tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()))
}

/// One whose tasks go on between the calls, as in the program.
fn shared() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
}

fn bytes(size: usize) -> Vec<u8> {
    (0..size).map(|i| (i ^ (i >> 8) ^ (i >> 16)) as u8).collect()
}

/// A client of the same bucket beside the storage.
fn client(location: &Location) -> (AmazonS3, ObjectPath) {
    let text = location.to_string();
    let (bucket, prefix) = text.strip_prefix("s3://").unwrap().split_once('/').unwrap();
    (AmazonS3Builder::from_env().with_bucket_name(bucket).build().unwrap(), ObjectPath::from(prefix))
}

/// Keys of the uploads in parts that were begun below `prefix` and are neither complete nor aborted.
async fn unfinished(client: &AmazonS3, prefix: &ObjectPath) -> Vec<String> {
    let options = SignedUrlOptions::default().with_query([("uploads", "")]);
    let url = client.signed_url_opts(reqwest::Method::GET, &ObjectPath::ROOT, MINUTE, &options).await.unwrap();
    let text = reqwest::get(url).await.unwrap().error_for_status().unwrap().text().await.unwrap();
    let keys = text.split("<Key>").skip(1).filter_map(|rest| Some(rest.split_once("</Key>")?.0.to_owned()));
    keys.filter(|key| key.starts_with(prefix.as_ref())).collect()
}

#[test]
fn files_over_the_size_of_a_part_arrive_whole_and_in_parts() {
    let Some(location) = location() else { return };
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&location, &job(), real_time()).unwrap();
    // given files around the sizes where an upload changes its way
    let sizes =
        BTreeMap::from([("000001.sst", PART - 1), ("000002.sst", PART), ("000003.sst", PART + 1), ("000004.sst", 3 * PART + 5)]);
    let files: Vec<_> = sizes.iter().map(|(name, size)| (*name, bytes(*size))).collect();
    let files: Vec<_> = files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect();
    let taken = snapshot(&folder.path().join("n"), &files);
    // when they are uploaded
    let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
    // then the large ones went in parts, which S3 shows in the tag of an object
    let (client, prefix) = client(&location);
    let Executor::Own(runtime) = real_time() else { panic!("own runtime") };
    for file in &manifest.files {
        let path = prefix.clone().join("orders").join("files").join(file.object_name());
        let meta = runtime.block_on(client.head(&path)).unwrap();
        let parts = meta.e_tag.unwrap().trim_matches('"').split_once('-').map(|(_, parts)| parts.parse::<usize>().unwrap());
        let size = sizes[file.name.as_str()];
        assert_eq!(meta.size as usize, size);
        assert_eq!(parts, (size >= PART).then_some(size.div_ceil(PART)), "{}", file.name);
    }
    // and all of them come back
    let target = folder.path().join("restored");
    let report = storage.restore(&manifest, &target, MINUTE, &|_| ()).unwrap();
    assert_eq!((report.linked, report.bytes), (0, sizes.values().map(|size| *size as u64).sum()));
    assert!(contents(&target) == contents(&taken.0), "other bytes came back");
}

#[test]
fn an_upload_that_is_given_up_leaves_no_parts_behind() {
    let Some(location) = location() else { return };
    let folder = tempfile::tempdir().unwrap();
    let runtime = shared();
    let storage = Storage::open(&location, &job(), runtime.handle().clone()).unwrap();
    let taken = snapshot(&folder.path().join("n"), &[("000001.sst", &bytes(12 * PART))]);
    let (client, prefix) = client(&location);
    // when the attempt ends while an upload is under way
    let cancelled = storage.clone();
    let (watching, below) = (client.clone(), prefix.clone());
    let watch = runtime.spawn(async move {
        let seen = async { while unfinished(&watching, &below).await.is_empty() {} };
        let seen = tokio::time::timeout(MINUTE, seen).await.is_ok();
        cancelled.cancel();
        seen
    });
    let failure = storage.upload(CheckpointId(1), &taken.0, &taken.1, &mut Uploaded::nothing(), MINUTE).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Attempt, "{failure}");
    assert!(runtime.block_on(watch).unwrap(), "no upload was ever under way");
    // then it is aborted, and nothing of it is visible
    let gone = async {
        while !unfinished(&client, &prefix).await.is_empty() {}
        client.list(Some(&prefix.clone().join("orders").join("files"))).try_collect::<Vec<_>>().await.unwrap()
    };
    let visible = runtime.block_on(async { tokio::time::timeout(MINUTE, gone).await }).expect("parts stay behind");
    assert_eq!(visible.len(), 0, "{visible:?}");
}

#[test]
fn a_download_whose_connection_breaks_goes_on_where_it_was() {
    let Some(location) = location() else { return };
    let folder = tempfile::tempdir().unwrap();
    let storage = Storage::open(&location, &job(), real_time()).unwrap();
    let taken = snapshot(&folder.path().join("n"), &[("000001.sst", &bytes(3 * PART))]);
    let (manifest, _) = checkpoint(&storage, &mut Uploaded::nothing(), 1, None, &taken).unwrap();
    // given a network that breaks the first connection that has carried 10 MiB
    let network = Breaking::after(10 << 20);
    let connected = Connected { store: through(&network, &location), ..location.connect(false).unwrap() };
    let storage = Storage::over(connected, &job(), real_time(), "two".to_owned());
    // when the state is restored through it, then it is whole all the same
    let target = folder.path().join("restored");
    storage.restore(&manifest, &target, MINUTE, &|_| ()).unwrap();
    assert!(network.broke.load(Ordering::SeqCst), "no connection broke");
    assert!(contents(&target) == contents(&taken.0), "other bytes came back");
}

#[test]
fn a_missing_bucket_is_no_empty_one() {
    if location().is_none() {
        return;
    }
    let location: Location = "s3://no-such-bucket-anywhere/prefix".parse().unwrap();
    for failure in [
        Storage::inspect_if_there(&location, &job(), real_time()).unwrap_err(),
        Storage::inspect(&location, &job(), real_time()).unwrap_err(),
        Storage::open(&location, &job(), real_time()).unwrap_err(),
    ] {
        assert_eq!(failure.kind, FailureKind::Fatal, "{failure}");
        for words in ["s3://no-such-bucket-anywhere/prefix/orders", "no such bucket", "AWS_REGION"] {
            assert!(failure.message.contains(words), "{words:?} is not in: {failure}");
        }
    }
}

/// A server that takes connections and never says a word.
#[test]
fn a_server_that_hangs_cannot_hold_a_checkpoint_beyond_its_time() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", silent.local_addr().unwrap());
    let variables = [
        ("AWS_ENDPOINT_URL", address.as_str()),
        ("AWS_ALLOW_HTTP", "true"),
        ("AWS_ACCESS_KEY_ID", "a"),
        ("AWS_SECRET_ACCESS_KEY", "b"),
    ];
    let store = AmazonS3Builder::new().with_bucket_name("shop");
    let store = variables.iter().fold(store, |all, (name, value)| all.with_config(name.to_lowercase().parse().unwrap(), *value));
    let connected =
        Connected { store: Arc::new(store.build().unwrap()), prefix: ObjectPath::ROOT, folder: None, shown: "s3://shop".into() };
    let storage = Storage::over(connected, &job(), real_time(), "one".to_owned());
    let folder = tempfile::tempdir().unwrap();
    let taken = snapshot(folder.path(), &[("000001.sst", b"rows"), ("000002.sst", &bytes(PART + 1))]);
    let start = Instant::now();
    let failure =
        storage.upload(CheckpointId(1), &taken.0, &taken.1, &mut Uploaded::nothing(), Duration::from_secs(2)).unwrap_err();
    assert_eq!(failure.kind, FailureKind::Transient, "{failure}");
    // A request alone would wait for a minute.
    assert!(start.elapsed() < Duration::from_secs(30), "{:?}", start.elapsed());
    assert!(failure.message.contains("s3://shop/orders/files"), "{failure}");
}

/// The bucket of `location`, by way of `network`.
fn through(network: &Breaking, location: &Location) -> Arc<dyn ObjectStore> {
    let text = location.to_string();
    let (bucket, _) = text.strip_prefix("s3://").unwrap().split_once('/').unwrap();
    let store = AmazonS3Builder::from_env().with_bucket_name(bucket).with_endpoint(&network.address);
    let retry = object_store::RetryConfig { max_retries: 0, ..Default::default() };
    Arc::new(store.with_retry(retry).build().unwrap())
}

/// A way to the server that breaks once.
struct Breaking {
    address: String,
    broke: Arc<AtomicBool>,
}

impl Breaking {
    fn after(limit: u64) -> Self {
        let endpoint = std::env::var("AWS_ENDPOINT_URL").unwrap();
        let server = endpoint.strip_prefix("http://").unwrap().to_owned();
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let broke = Arc::new(AtomicBool::new(false));
        let breaks = Arc::clone(&broke);
        // Ends with the process.
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let server = TcpStream::connect(&server).unwrap();
                let (mut from, mut to) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                thread::spawn(move || std::io::copy(&mut from, &mut to));
                let breaks = Arc::clone(&breaks);
                thread::spawn(move || carry(server, client, limit, &breaks));
            }
        });
        Self { address, broke }
    }
}

/// Carries answers from the server; the first connection of all that has carried `limit` bytes breaks.
fn carry(mut server: TcpStream, mut client: TcpStream, limit: u64, broke: &AtomicBool) {
    let (mut chunk, mut carried) = (vec![0; 1 << 16], 0);
    while let Ok(read) = server.read(&mut chunk) {
        if read == 0 || client.write_all(&chunk[..read]).is_err() {
            break;
        }
        carried += read as u64;
        if carried >= limit && !broke.swap(true, Ordering::SeqCst) {
            break;
        }
    }
    for stream in [server, client] {
        drop(stream.shutdown(Shutdown::Both));
    }
}
