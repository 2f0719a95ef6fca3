//! Elements that belong to a subtask instead of a key.

use super::{State, StateHandle};
use crate::engine::snapshot::{ElementKind, NamedElement, Redistribution, redistribute};
use crate::protocol::Failure;
use crate::stream::{held::Kept, operator::OperatorContext};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use std::{cell::RefCell, rc::Rc};

/// A list of a subtask. It lies in the manifest of each checkpoint, whole: it is for few elements. When the parallelism changes, the
/// elements of all subtasks are given out anew, as its declaration says: to each subtask a part of them
/// ([`Redistribution::Split`]), or to each subtask all ([`Redistribution::Union`]; a subtask then keeps what is its own).
///
/// ```
/// use sluicegate::stream::{Emit, Failure, Halt, Harness, Key, KeyedProcess, KeyedStream, OperatorContext, OperatorList, Outputs, Redistribution, Timestamp};
///
/// // Gives out records in pairs, whatever their keys: a, b, c, d becomes [a, b], [c, d].
/// struct Pairs {
///     waiting: OperatorList<String>,
/// }
///
/// impl KeyedProcess<String, String> for Pairs {
///     type Out = Vec<String>;
///     fn process(&mut self, _: &Key<String>, _: Timestamp, value: String, out: &mut Emit<'_, Vec<String>>) -> Result<(), Halt> {
///         self.waiting.add(value);
///         if self.waiting.read(<[String]>::len) < 2 {
///             return Ok(());
///         }
///         out.push(self.waiting.replace(Vec::new()))
///     }
/// }
///
/// # fn main() -> Result<(), Failure> {
/// let mut pairs = Harness::<String, String, _>::new(|_, values| {
///     Outputs::of(&values.process("pairs", |declare| {
///         let waiting = declare.operator_list::<String>("waiting", Redistribution::Split);
///         move |context: &mut OperatorContext<'_, '_>| Ok(Pairs { waiting: context.state(&waiting)? })
///     }))
/// })?;
/// ["a", "b", "c"].into_iter().try_for_each(|value| pairs.record(0, value.into(), value.into()))?;
/// assert_eq!(pairs.outputs.take(), [(0, vec!["a".to_owned(), "b".to_owned()])]);
/// # Ok(())
/// # }
/// ```
pub struct OperatorList<T> {
    elements: Rc<RefCell<Vec<T>>>,
}

impl<T: Serialize + DeserializeOwned + 'static> State for OperatorList<T> {
    type Given = Redistribution;

    fn open(context: &mut OperatorContext<'_, '_>, handle: &StateHandle<Self>) -> Result<Self, Failure> {
        let name = &handle.descriptor.name;
        let all = context.restored_elements(ElementKind::List, name);
        let (subtask, parallelism) = context.place();
        let mine = redistribute(&all, handle.given, subtask, parallelism).into_iter();
        let elements = mine.map(|element| {
            serde_json::from_value(element.clone()).map_err(|error| {
                let state = handle.descriptor.column_family();
                Failure::refused(format!("manifest: element {element} does not fit the list state {state}: {error}"))
            })
        });
        let elements = Rc::new(RefCell::new(elements.collect::<Result<_, _>>()?));
        context.keep(Rc::new(Stored { name: name.clone(), elements: Rc::clone(&elements) }));
        Ok(Self { elements })
    }
}

impl<T> OperatorList<T> {
    /// Appends an element.
    pub fn add(&self, element: T) {
        self.elements.borrow_mut().push(element);
    }

    /// Appends elements.
    pub fn add_all(&self, elements: impl IntoIterator<Item = T>) {
        self.elements.borrow_mut().extend(elements);
    }

    /// Reads the elements.
    pub fn read<R>(&self, read: impl FnOnce(&[T]) -> R) -> R {
        read(&self.elements.borrow())
    }

    /// Replaces the elements; gives those that were there.
    pub fn replace(&self, elements: Vec<T>) -> Vec<T> {
        self.elements.replace(elements)
    }

    /// Removes all elements.
    pub fn clear(&self) {
        self.elements.borrow_mut().clear();
    }
}

struct Stored<T> {
    name: String,
    elements: Rc<RefCell<Vec<T>>>,
}

impl<T: Serialize> Kept for Stored<T> {
    fn elements(&self, _: usize) -> Result<Vec<Value>, Failure> {
        let elements = self.elements.borrow();
        elements.iter().map(|element| NamedElement::write(ElementKind::List, &self.name, element)).collect()
    }
}
