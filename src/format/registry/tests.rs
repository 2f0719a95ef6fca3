//! Against a server of a few lines that says what a registry says; the real one is in the integration tests.

use super::*;
use crate::format::avro::{OwnSchema, encode_order};
use crate::format::{DecodeRules, Encoding, EventType, Input, OrderEvent, OrderReader};
use axum::{Json, Router, http::StatusCode, routing};
use rust_decimal::Decimal;
use serde_json::{Value, json};
use std::sync::atomic::AtomicU32;

static NEVER: AtomicBool = AtomicBool::new(false);
/// For what a server of this process answers at once.
const SOON: Duration = Duration::from_secs(60);

fn settings(port: u16) -> RegistrySettings {
    RegistrySettings {
        url: format!("http://127.0.0.1:{port}/base/").parse().unwrap(),
        basic: Some(("user".into(), Secret("word".into()))),
        ca_certificate: None,
        client_certificate: None,
        strategy: SubjectStrategy::TopicName,
        register: true,
        timeout: SOON,
    }
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap()
}

fn absent(code: u32) -> (StatusCode, Json<Value>) {
    (StatusCode::NOT_FOUND, Json(json!({"error_code": code, "message": "not found"})))
}

/// Serves `routes` under /base on a port, which is given back.
fn serve(runtime: &tokio::runtime::Runtime, port: u16, routes: Router) -> u16 {
    let listener = runtime.block_on(tokio::net::TcpListener::bind(("127.0.0.1", port))).unwrap();
    let port = listener.local_addr().unwrap().port();
    let routes = Router::new().nest("/base", routes);
    runtime.spawn(async move { axum::serve(listener, routes).await });
    port
}

fn until<T>(mut found: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        match found() {
            Some(found) => return found,
            None => assert!(Instant::now() < end, "the condition did not come true"),
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn record(id: u32) -> (OrderEvent, Vec<u8>) {
    let event = OrderEvent {
        order_id: "O-1".into(),
        user_id: "U-1".into(),
        event_type: EventType::Created,
        amount: Decimal::new(0, 2),
        item_count: 0,
        category: "".into(),
        items: [].into_iter().collect(),
        timestamp: 1_767_225_600_000,
    };
    let mut bytes = Vec::new();
    Encoding::framed(id).order(&mut bytes, &event);
    (event, bytes)
}

#[test]
fn a_schema_is_asked_for_once_and_a_reader_is_ready_when_it_has_come() {
    let runtime = runtime();
    let asked = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&asked);
    let answer = move |headers: axum::http::HeaderMap| {
        count.fetch_add(1, Ordering::Relaxed);
        async move {
            assert_eq!(headers["authorization"], "Basic dXNlcjp3b3Jk");
            Json(json!({"schema": OwnSchema::OrderEvent.text()}))
        }
    };
    let port = serve(&runtime, 0, Router::new().route("/schemas/ids/7", routing::get(answer)));
    let registry = Registry::new(settings(port), ReaderSchema::own(), runtime.handle().clone()).unwrap();
    let (event, bytes) = record(7);
    let mut readers = [(); 2].map(|()| OrderReader::new(Input::Avro(Arc::clone(&registry)), DecodeRules::default()));
    for reader in &mut readers {
        until(|| reader.is_ready(&bytes).then_some(()));
        assert_eq!(reader.read(&bytes), Ok(event.clone()));
        assert_eq!(reader.read(&bytes), Ok(event.clone()));
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[test]
fn a_registry_that_is_down_makes_readers_wait_and_one_that_is_up_lets_them_go_on() {
    let runtime = runtime();
    // given a port where nobody listens
    let port = runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).unwrap().local_addr().unwrap().port();
    let registry = Registry::new(settings(port), ReaderSchema::own(), runtime.handle().clone()).unwrap();
    let mut reader = OrderReader::new(Input::Avro(Arc::clone(&registry)), DecodeRules::default());
    let (event, bytes) = record(3);
    for _ in 0..50 {
        assert!(!reader.is_ready(&bytes));
        std::thread::sleep(Duration::from_millis(5));
    }
    let failure = registry.answers(Duration::from_millis(300), &NEVER).unwrap_err();
    assert!(failure.message.contains(&format!("http://127.0.0.1:{port}/base/ (registry.url) has not answered")), "{failure}");
    // when it comes up
    let answer = || async { Json(json!({"schema": OwnSchema::OrderEvent.text()})) };
    serve(&runtime, port, Router::new().route("/schemas/ids/3", routing::get(answer)));
    // then the record is read
    until(|| reader.is_ready(&bytes).then_some(()));
    assert_eq!(reader.read(&bytes), Ok(event));
}

#[test]
fn what_the_registry_does_not_know_or_nobody_can_use_is_refused_and_trouble_is_not() {
    let runtime = runtime();
    let routes = Router::new()
        .route("/schemas/ids/1", routing::get(|| async { absent(40_403) }))
        .route("/schemas/ids/2", routing::get(|| async { Json(json!({"schema": "{\"type\": \"nonsense\"}"})) }))
        .route("/schemas/ids/3", routing::get(|| async { Json(json!({"schema": "\"string\""})) }))
        .route("/schemas/ids/4", routing::get(|| async { Json(json!({"schema": "{}", "schemaType": "JSON"})) }))
        .route("/schemas/ids/5", routing::get(|| async { StatusCode::INTERNAL_SERVER_ERROR }))
        .route("/schemas/ids/6", routing::get(|| async { StatusCode::NOT_FOUND }))
        .route("/schemas/ids/8", routing::get(|| async { StatusCode::UNAUTHORIZED }));
    let port = serve(&runtime, 0, routes);
    let registry = Registry::new(settings(port), ReaderSchema::own(), runtime.handle().clone()).unwrap();
    let refused = |id| {
        until(|| match registry.answer(id) {
            Answer::Refused(error) => Some(error),
            Answer::Plan(_) => panic!("id {id} can be read"),
            Answer::Waiting => None,
        })
    };
    assert_eq!(refused(1).class, ErrorClass::UnknownSchema);
    for id in 2..=4 {
        assert_eq!(refused(id).class, ErrorClass::IncompatibleSchema, "{id}");
    }
    assert_eq!(refused(3).message, "schema id 3: the record is a string; wanted is a record");
    // Errors of the registry, a proxy's page, a wrong password: a person has to look, and no record is bad for that.
    for id in [5, 6, 8] {
        for _ in 0..20 {
            assert!(matches!(registry.answer(id), Answer::Waiting), "{id}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

#[test]
fn outputs_are_registered_or_only_looked_up() {
    let runtime = runtime();
    let routes = Router::new()
        .route("/subjects/new-value/versions", routing::post(|| async { Json(json!({"id": 11})) }))
        .route("/subjects/new-value", routing::post(|| async { absent(40_401) }))
        .route("/subjects/old-value", routing::post(|| async { Json(json!({"id": 12, "version": 1})) }))
        .route(
            "/subjects/other-value/versions",
            routing::post(|| async { (StatusCode::CONFLICT, Json(json!({"error_code": 409, "message": "no!"}))) }),
        )
        .route("/subjects/other-value", routing::post(|| async { absent(40_403) }))
        .route("/compatibility/subjects/new-value/versions/latest", routing::post(|| async { absent(40_401) }))
        .route(
            "/compatibility/subjects/other-value/versions/latest",
            routing::post(|| async { Json(json!({"is_compatible": false, "messages": ["a field"]})) }),
        );
    let port = serve(&runtime, 0, routes);
    let registry = Registry::new(settings(port), ReaderSchema::own(), runtime.handle().clone()).unwrap();
    let uses =
        Registry::new(RegistrySettings { register: false, ..settings(port) }, ReaderSchema::own(), runtime.handle().clone())
            .unwrap();
    let schema = OwnSchema::OrderStatus;
    assert_eq!(registry.number("new", schema, SOON, &NEVER).unwrap(), 11);
    assert_eq!(uses.number("old", schema, SOON, &NEVER).unwrap(), 12);
    let message = uses.number("new", schema, SOON, &NEVER).unwrap_err().message;
    assert!(message.contains("subject new-value does not have the schema of sluicegate.orders.OrderStatus"), "{message}");
    let message = registry.number("other", schema, SOON, &NEVER).unwrap_err().message;
    assert!(message.contains("subject other-value does not take") && message.contains("no!"), "{message}");
    assert_eq!(registry.can_write("new", schema, SOON, &NEVER).unwrap(), None);
    assert_eq!(registry.can_write("old", schema, SOON, &NEVER).unwrap(), Some(12));
    assert!(uses.can_write("new", schema, SOON, &NEVER).is_err());
    let message = registry.can_write("other", schema, SOON, &NEVER).unwrap_err().message;
    assert!(message.contains("may not follow the newest one: a field"), "{message}");
}

#[test]
fn subjects_are_named_as_the_serializers_of_confluent_name_them() {
    let schema = OwnSchema::OrderEvent;
    assert_eq!(SubjectStrategy::TopicName.subject("orders", schema), "orders-value");
    assert_eq!(SubjectStrategy::RecordName.subject("orders", schema), "sluicegate.orders.OrderEvent");
    assert_eq!(SubjectStrategy::TopicRecordName.subject("orders", schema), "orders-sluicegate.orders.OrderEvent");
    assert_eq!(format!("{:?}", Secret("word".into())), "***");
}

#[test]
fn what_is_behind_a_header_is_the_avro() {
    let (event, bytes) = record(0x0102_0304);
    let mut avro = Vec::new();
    encode_order(&mut avro, &event);
    assert_eq!(bytes, [&[0, 1, 2, 3, 4], avro.as_slice()].concat());
}
