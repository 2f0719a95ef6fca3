//! Settings of the make targets: environment variables, where an empty one counts as not set (make exports it that way).

use crate::{Context, Error, Result};
use std::str::FromStr;

/// The variable `name`, if it is set.
pub fn variable<T>(name: &str) -> Result<Option<T>>
where
    T: FromStr,
    Error: From<T::Err>,
{
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => {
            let value = text.parse::<T>().map_err(Error::from);
            Ok(Some(value.with_context(|| format!("the variable {name}={text:?}"))?))
        }
        _ => Ok(None),
    }
}
