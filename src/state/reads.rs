//! What a type can read of what another one has written.
//!
//! The rules are those of the decoder: a field that is not there takes its default, one that is not known is passed over, an integer
//! is read by any type that has room for it. In doubt the answer is yes, where a value that does not fit fails when it is read; it
//! is no where the decoder would fail, and where it would change what was stored (64 bits into a float).

use super::value_type::{Choice, Field, Presence, Record, ValueType};
use std::collections::BTreeMap;

impl ValueType {
    /// Whether values that `stored` describes can be read by this type; if not, what does not fit, with its place.
    ///
    /// # Errors
    /// The reason, for a message that shows both.
    pub fn reads(&self, stored: &Self) -> Result<(), String> {
        match (self, stored) {
            (Self::Unknown | Self::Other(_), _) | (_, Self::Unknown | Self::Other(_)) | (Self::Option(_), Self::Unit) => Ok(()),
            (Self::Option(own), Self::Option(of)) => own.reads(of),
            (Self::Option(own), _) => own.reads(stored),
            (_, Self::Option(_)) => Err(format!("may be nothing, which {self} is not")),
            (Self::List(own), Self::List(of)) => own.reads(of),
            (Self::List(own), Self::Tuple(parts)) => parts.iter().try_for_each(|part| own.reads(part)),
            // Types that take bytes take a list of them as well, most of them.
            (Self::Bytes, Self::List(of)) if **of == Self::U8 => Ok(()),
            (Self::Tuple(own), Self::Tuple(parts)) if own.len() == parts.len() => {
                own.iter().zip(parts).try_for_each(|(own, part)| own.reads(part))
            }
            (Self::Map(own_key, own), Self::Map(key, value)) => {
                own_key.reads(key).map_err(|why| format!("keys: {why}"))?;
                own.reads(value)
            }
            (Self::Map(own_key, own), Self::Struct(record)) if **own_key == Self::Text => {
                record.fields.iter().try_for_each(|(name, field)| own.reads(&field.value).map_err(|why| place(name, &why)))
            }
            (Self::Struct(own), Self::Struct(record)) => own.reads(record),
            (Self::Enum(own), Self::Enum(choice)) => own.reads(choice),
            // A variant that holds nothing is stored as its name.
            (Self::Text, Self::Enum(choice)) if choice.variants.values().all(|held| *held == Self::Unit) => Ok(()),
            (Self::Text, Self::Char) => Ok(()),
            _ if self == stored || self.has_room_for(stored) => Ok(()),
            _ => Err(format!("is {stored}, and would be read as {self}")),
        }
    }

    fn has_room_for(&self, stored: &Self) -> bool {
        let Some((low, high)) = stored.integers() else { return matches!((self, stored), (Self::F64, Self::F32)) };
        let room = match self {
            // Every integer of so many bits has a float of its own.
            Self::F32 => Some((-(1 << 24), 1 << 24)),
            Self::F64 => Some((-(1 << 53), 1 << 53)),
            _ => self.integers(),
        };
        room.is_some_and(|(lowest, highest)| lowest <= low && high <= highest)
    }

    /// The smallest and the largest integer. Those of 128 bits are stored in another way and read by their own type only.
    fn integers(&self) -> Option<(i128, i128)> {
        Some(match self {
            Self::U8 => (0, u8::MAX.into()),
            Self::U16 => (0, u16::MAX.into()),
            Self::U32 => (0, u32::MAX.into()),
            Self::U64 => (0, u64::MAX.into()),
            Self::I8 => (i8::MIN.into(), i8::MAX.into()),
            Self::I16 => (i16::MIN.into(), i16::MAX.into()),
            Self::I32 => (i32::MIN.into(), i32::MAX.into()),
            Self::I64 => (i64::MIN.into(), i64::MAX.into()),
            _ => return None,
        })
    }
}

impl Record {
    fn reads(&self, stored: &Self) -> Result<(), String> {
        // By the name of the own field, the stored one that it is read from.
        let mut found: BTreeMap<&String, (&String, &Field)> = BTreeMap::new();
        for (name, field) in &stored.fields {
            let own = self.fields.get_key_value(name);
            let own = own.or_else(|| self.fields.iter().find(|(_, own)| own.aliases.contains(name)));
            let Some((own_name, own)) = own else {
                if self.strict {
                    return Err(format!("field {name:?} is gone, and fields that are not known are denied"));
                }
                continue;
            };
            if let Some((other, _)) = found.insert(own_name, (name, field)) {
                return Err(format!("fields {other:?} and {name:?} would both be read as {own_name:?}"));
            }
            own.value.reads(&field.value).map_err(|why| place(name, &why))?;
        }
        for (name, _) in self.fields.iter().filter(|(_, own)| own.presence == Presence::Needed) {
            match found.get(name) {
                None => return Err(format!("field {name:?} is new and has no default")),
                Some((stored, field)) if field.presence == Presence::Optional => {
                    return Err(format!("field {stored:?} may be missing, and has no default any more"));
                }
                Some(_) => {}
            }
        }
        Ok(())
    }
}

impl Choice {
    fn reads(&self, stored: &Self) -> Result<(), String> {
        for (name, held) in &stored.variants {
            match self.variants.get(name) {
                Some(own) => own.reads(held).map_err(|why| place(name, &why))?,
                // What it held is not taken with it.
                None if self.open && *held == ValueType::Unit => {}
                None => return Err(format!("variant {name:?} is gone")),
            }
        }
        Ok(())
    }
}

/// One step down: `field "a": field "b": is text, ...`.
fn place(name: &str, why: &str) -> String {
    format!("{name:?}: {why}")
}

#[cfg(test)]
mod tests {
    use super::ValueType::{self, Bool, F32, F64, I32, I64, Text, U8, U16, U32, U64, Unknown};
    use crate::state::{StateValue, trace::value_type};
    use serde::{Deserialize, Serialize};
    use std::collections::BTreeMap;

    macro_rules! value {
        ($(#[$on:meta])* struct $name:ident { $($(#[$of:meta])* $field:ident: $type:ty),* $(,)? }) => {
            #[derive(Serialize, Deserialize)]
            $(#[$on])*
            struct $name { $($(#[$of])* $field: $type),* }
            impl StateValue for $name {}
        };
    }

    /// Whether `New` reads what `Old` has written, as a manifest tells it.
    fn reads<New: StateValue, Old: StateValue>() -> Result<(), String> {
        let stored = serde_json::to_string(&Old::value_type().as_written()).unwrap();
        New::value_type().reads(&serde_json::from_str(&stored).unwrap())
    }

    value! { struct Old { user: String, count: u32, last: Option<i64> } }

    #[test]
    fn a_field_that_is_added_with_a_default_or_as_an_option_and_one_that_is_removed_fit() {
        value! { struct Defaulted { user: String, count: u32, #[serde(default)] views: u32, last: Option<i64> } }
        value! { struct Optional { user: String, count: u32, views: Option<u32>, last: Option<i64> } }
        value! { struct Fewer { count: u32 } }
        value! { #[derive(Default)] #[serde(default)] struct AllDefaulted { one: String, two: u32 } }
        assert_eq!(reads::<Old, Old>(), Ok(()));
        assert_eq!(reads::<Defaulted, Old>(), Ok(()));
        assert_eq!(reads::<Optional, Old>(), Ok(()));
        assert_eq!(reads::<Fewer, Old>(), Ok(()));
        assert_eq!(reads::<AllDefaulted, Old>(), Ok(()));
    }

    #[test]
    fn a_field_that_is_added_without_a_default_does_not_fit() {
        value! { struct Added { user: String, count: u32, views: u32, last: Option<i64> } }
        value! { struct Renamed { user: String, number: u32 } }
        value! { struct NoOption { user: String, count: u32, last: i64 } }
        value! { #[serde(deny_unknown_fields)] struct Strict { user: String, count: u32 } }
        assert_eq!(reads::<Added, Old>().unwrap_err(), "field \"views\" is new and has no default");
        assert_eq!(reads::<Renamed, Old>().unwrap_err(), "field \"number\" is new and has no default");
        assert_eq!(reads::<NoOption, Old>().unwrap_err(), "\"last\": may be nothing, which i64 is not");
        assert!(reads::<Strict, Old>().unwrap_err().contains("\"last\" is gone"));
    }

    #[test]
    fn a_default_may_be_given_and_not_be_taken_away() {
        value! { struct With { #[serde(default)] views: u32 } }
        value! { struct Without { views: u32 } }
        assert_eq!(reads::<With, Without>(), Ok(()));
        assert!(reads::<Without, With>().unwrap_err().contains("\"views\" may be missing"));
    }

    #[test]
    fn a_renamed_field_fits_by_its_alias() {
        value! { struct Renamed { #[serde(alias = "user")] customer: String, #[serde(alias = "count", alias = "sum")] number: u64 } }
        value! { struct OtherType { #[serde(alias = "user")] customer: u32 } }
        value! { struct Both { user: String, customer: String, count: u32 } }
        assert_eq!(reads::<Renamed, Old>(), Ok(()));
        assert_eq!(reads::<Renamed, Renamed>(), Ok(()));
        assert!(reads::<Old, Renamed>().unwrap_err().contains("\"count\" is new"));
        assert_eq!(reads::<OtherType, Old>().unwrap_err(), "\"user\": is text, and would be read as u32");
        assert!(reads::<Renamed, Both>().unwrap_err().contains("would both be read as \"customer\""));
    }

    #[test]
    fn a_number_fits_into_one_with_room_for_it() {
        let fits = |own: &ValueType, stored: &ValueType| own.reads(stored).is_ok();
        for (own, stored) in [(U64, U32), (I64, I32), (I64, U32), (I32, U16), (F64, F32), (F64, U32), (F64, I32), (F32, U16)] {
            assert!(fits(&own, &stored), "{own} reads {stored}");
            assert!(!fits(&stored, &own), "{stored} does not read {own}");
        }
        for (own, stored) in [(U64, I32), (I64, U64), (F64, I64), (F64, U64), (F32, U32), (Bool, U8), (Text, U8), (U8, Text)] {
            assert!(!fits(&own, &stored), "{own} does not read {stored}");
        }
        assert!(fits(&Unknown, &Text) && fits(&Text, &Unknown));
    }

    #[test]
    fn the_rules_for_integers_are_those_of_the_decoder() {
        macro_rules! compare {
            ($stored:ty => $($own:ty),*) => { $(
                let reads = value_type::<$own>().reads(&value_type::<$stored>()).is_ok();
                let decodes = |value: $stored| rmp_serde::from_slice::<$own>(&rmp_serde::to_vec(&value).unwrap()).is_ok();
                assert_eq!(reads, decodes(<$stored>::MIN) && decodes(<$stored>::MAX), "{} by {}", stringify!($stored), stringify!($own));
            )* };
        }
        compare!(u8 => u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, bool, String);
        compare!(u32 => u8, u16, u32, u64, i8, i16, i32, i64, f64, bool, String);
        compare!(u64 => u8, u16, u32, u64, i8, i16, i32, i64);
        compare!(i8 => u8, u16, u32, u64, i8, i16, i32, i64, f32, f64, char);
        compare!(i32 => u8, u16, u32, u64, i8, i16, i32, i64, f64, char);
        compare!(i64 => u8, u16, u32, u64, i8, i16, i32, i64);
    }

    #[test]
    fn what_is_inside_of_lists_maps_tuples_and_options_is_compared_too() {
        value! { struct Narrow { list: Vec<u32>, map: BTreeMap<String, i32>, pair: (u8, String), inner: Old } }
        value! { struct Wide { list: Vec<u64>, map: BTreeMap<String, i64>, pair: (u16, String), inner: Option<Old> } }
        value! { struct Triple { list: Vec<u32>, map: BTreeMap<String, i32>, pair: (u8, String, u8), inner: Old } }
        assert_eq!(reads::<Wide, Narrow>(), Ok(()));
        assert_eq!(
            reads::<Narrow, Wide>().unwrap_err(),
            "\"inner\": may be nothing, which {count: u32, last?: i64, user: text} is not"
        );
        assert_eq!(reads::<Triple, Narrow>().unwrap_err(), "\"pair\": is (u8, text), and would be read as (u8, text, u8)");
        assert_eq!(reads::<Vec<u64>, Vec<u8>>(), Ok(()));
        assert!(reads::<Vec<u8>, Vec<u64>>().is_err());
    }

    #[test]
    fn an_enum_may_gain_variants_and_not_lose_them() {
        #[derive(Serialize, Deserialize)]
        enum Two {
            New,
            Gone { reason: String },
        }
        #[derive(Serialize, Deserialize)]
        enum Three {
            New,
            Gone {
                reason: String,
                #[serde(default)]
                at: i64,
            },
            Paid(u32),
        }
        #[derive(Serialize, Deserialize)]
        enum Open {
            Paid(u32),
            #[serde(other)]
            Else,
        }
        impl StateValue for Two {}
        impl StateValue for Three {}
        impl StateValue for Open {}
        assert_eq!(reads::<Three, Two>(), Ok(()));
        assert_eq!(reads::<Two, Three>().unwrap_err(), "variant \"Paid\" is gone");
        #[derive(Serialize, Deserialize)]
        enum Plain {
            Bought,
            Sold,
        }
        impl StateValue for Plain {}
        assert_eq!(reads::<Open, Plain>(), Ok(()));
        assert_eq!(reads::<Open, Two>().unwrap_err(), "variant \"Gone\" is gone");
        assert_eq!(reads::<String, Plain>(), Ok(()));
        assert_eq!(Two::value_type().to_string(), "one of [Gone {reason: text}, New]");
    }
}
