//! Operators of one task call each other directly: a chain, or a tree, of collectors that ends in the task's ports.

use super::{halt::Halt, message::Mark, message::Timestamp, snapshot::OperatorSnapshots};
use std::{cell::RefCell, rc::Rc};

/// What is not a record and passes through a chain; operators act on it.
pub trait Downstream {
    /// Event time moved. Called after the last record that it covers.
    fn mark(&mut self, mark: Mark) -> Result<(), Halt>;
    /// No record will follow: give out what is held back.
    fn end(&mut self) -> Result<(), Halt>;
    /// A barrier passes: say what the operators hold besides keyed state.
    fn snapshot(&mut self, into: &mut OperatorSnapshots) -> Result<(), Halt>;
}

/// Takes the records of one stream.
pub trait Collector<T>: Downstream {
    /// Takes one record with its event time.
    fn collect(&mut self, timestamp: Timestamp, value: T) -> Result<(), Halt>;
}

/// A collector that an operator and its task share; both live on one thread.
pub type Shared<T> = Rc<RefCell<dyn Collector<T>>>;

/// Gives every record to each of several consumers.
struct FanOut<T> {
    all_but_last: Vec<Shared<T>>,
    last: Shared<T>,
}

impl<T> FanOut<T> {
    fn each(&self) -> impl Iterator<Item = &Shared<T>> {
        self.all_but_last.iter().chain([&self.last])
    }
}

impl<T> Downstream for FanOut<T> {
    fn mark(&mut self, mark: Mark) -> Result<(), Halt> {
        self.each().try_for_each(|consumer| consumer.borrow_mut().mark(mark))
    }

    fn end(&mut self) -> Result<(), Halt> {
        self.each().try_for_each(|consumer| consumer.borrow_mut().end())
    }

    fn snapshot(&mut self, into: &mut OperatorSnapshots) -> Result<(), Halt> {
        self.each().try_for_each(|consumer| consumer.borrow_mut().snapshot(into))
    }
}

impl<T: Clone> Collector<T> for FanOut<T> {
    fn collect(&mut self, timestamp: Timestamp, value: T) -> Result<(), Halt> {
        for consumer in &self.all_but_last {
            consumer.borrow_mut().collect(timestamp, value.clone())?;
        }
        self.last.borrow_mut().collect(timestamp, value)
    }
}

/// A stream that nobody reads.
struct Discard;

impl Downstream for Discard {
    fn mark(&mut self, _: Mark) -> Result<(), Halt> {
        Ok(())
    }
    fn end(&mut self) -> Result<(), Halt> {
        Ok(())
    }
    fn snapshot(&mut self, _: &mut OperatorSnapshots) -> Result<(), Halt> {
        Ok(())
    }
}

impl<T> Collector<T> for Discard {
    fn collect(&mut self, _: Timestamp, _: T) -> Result<(), Halt> {
        Ok(())
    }
}

/// One collector in front of any number of consumers.
pub fn fan_out<T: Clone + 'static>(mut consumers: Vec<Shared<T>>) -> Shared<T> {
    match consumers.pop() {
        None => Rc::new(RefCell::new(Discard)),
        Some(only) if consumers.is_empty() => only,
        Some(last) => Rc::new(RefCell::new(FanOut { all_but_last: consumers, last })),
    }
}
