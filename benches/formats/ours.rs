//! The decoders and encoders that the order job uses.

use crate::{
    Result,
    row::{AVRO, ID, JSON, Load, Row, SINGLE_OBJECT, Sums},
};
use sluicegate::format::{
    DecodeRules, Encoding, Input, OrderEvent, OrderReader,
    avro::{OwnSchema, Plan, ReaderSchema, WriterSchema},
    decode_order,
};
use std::{cell::RefCell, collections::HashMap};

pub fn rows(load: &Load, rounds: usize) -> Result<Vec<Row>> {
    let rules = DecodeRules::default();
    let measure = |format, decode: &dyn Fn(&[u8]) -> Result<OrderEvent>, encoding: Encoding| {
        let encode = |out: &mut Vec<u8>, event: &OrderEvent| {
            encoding.order(out, event);
            Ok(())
        };
        let add = |sums: &mut Sums, event: &OrderEvent| {
            sums.event(event);
            Ok(())
        };
        Row::measure((format, "sluicegate"), load.records(format), rounds, decode, encode, add)
    };
    let json = measure(JSON, &|record| Ok(decode_order(record, &rules)?), Encoding::Json)?;

    // As a reader has them once the registry has answered.
    let plans = HashMap::from([(ID, Plan::new(OwnSchema::OrderEvent.schema(), &[])?)]);
    let framed = |record: &[u8]| -> Result<OrderEvent> {
        let (schema, avro) = WriterSchema::of_framed(record)?;
        let WriterSchema::Id(id) = schema else { return Err("no number".into()) };
        let plan = plans.get(&id).ok_or("unknown number")?;
        Ok(plan.decode(avro, record.len() - avro.len(), &rules)?)
    };
    let avro = measure(AVRO, &framed, Encoding::framed(ID))?;

    let reader = RefCell::new(OrderReader::new(Input::single_object(&[], &ReaderSchema::own())?, rules));
    let read = |record: &[u8]| -> Result<OrderEvent> { Ok(reader.borrow_mut().read(record)?) };
    let single = measure(SINGLE_OBJECT, &read, Encoding::single_object(OwnSchema::OrderEvent))?;
    Ok(vec![json, avro, single])
}
