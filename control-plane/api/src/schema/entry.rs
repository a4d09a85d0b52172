//! Entries of lists and maps: records of which some fields must be written, and of which two never merge.

/// Declares an entry once: each field with its type, its meaning and, where it has one, its default with the reason.
///
/// `must` fields have to be written, `may` fields mean nothing when left out, `leaf` fields carry a default and its
/// reason, `part` fields nest a record of [`settings!`](crate::schema::settings).
#[macro_export]
#[doc(hidden)]
macro_rules! __entry {
    ($(#[doc = $doc:literal])+ pub struct $Entry:ident {
        $($(#[doc = $fdoc:literal])+ $how:ident $field:ident: $Type:ty
            $(, words $Sub:ident)? $(= $default:expr, because $why:literal)?;)*
    }) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $Entry {
            $($(#[doc = $fdoc])+ pub $field: $crate::__entry!(@type $how, $Type),)*
        }

        impl $crate::schema::Shape for $Entry {
            fn schema() -> $crate::schema::Schema {
                $crate::schema::Schema::Record(vec![$($crate::schema::Field {
                    name: stringify!($field),
                    doc: $crate::__entry!(@doc $how, concat!($($fdoc),+)),
                    default: $crate::__entry!(@default $how, $Type $(, $default)?),
                    why: concat!("" $(, $why)?),
                    schema: $crate::__entry!(@schema $Type $(, $Sub)?),
                }),*])
            }

            fn read(
                node: &$crate::schema::Node, path: &str, problems: &mut $crate::schema::Problems,
            ) -> Option<Self> {
                let mut fields = $crate::schema::Fields::of(node, path, problems)?;
                $(let $field = $crate::__entry!(
                    @read $how, fields, stringify!($field), problems $(, words $Sub)? $(, $default)?);)*
                fields.finish(problems);
                Some(Self { $($field: $crate::__entry!(@keep $how, $field)),* })
            }

            fn write(&self) -> serde_json::Value {
                let mut map = serde_json::Map::new();
                $($crate::__entry!(@write $how, map, stringify!($field), self.$field, $Type $(, $Sub)?);)*
                serde_json::Value::Object(map)
            }
        }
    };

    (@type may, $Type:ty) => { Option<$Type> };
    (@type $how:ident, $Type:ty) => { $Type };

    (@doc must, $doc:expr) => { format!("{} Must be written.", $doc.trim()) };
    (@doc $how:ident, $doc:expr) => { $doc.trim().to_owned() };

    (@default leaf, $Type:ty, $default:expr) => { Some(<$Type as $crate::schema::Shape>::write(&$default)) };
    (@default $how:ident, $Type:ty) => { None };

    (@schema $Type:ty) => { <$Type as $crate::schema::Shape>::schema() };
    (@schema $Type:ty, $Sub:ident) => { <$Sub as $crate::schema::Shape>::schema() };

    (@read must, $from:ident, $name:expr, $problems:ident) => { $from.required($name, $problems) };
    (@read may, $from:ident, $name:expr, $problems:ident) => { $from.optional($name, $problems) };
    (@read leaf, $from:ident, $name:expr, $problems:ident, $default:expr) => {
        $from.optional($name, $problems).unwrap_or_else(|| $default)
    };
    (@read part, $from:ident, $name:expr, $problems:ident, words $Sub:ident) => {
        $crate::schema::Words::settle(&$from.optional::<$Sub>($name, $problems).unwrap_or_default())
    };

    (@keep must, $value:ident) => { $value? };
    (@keep $how:ident, $value:ident) => { $value };

    (@write may, $into:ident, $name:expr, $value:expr, $Type:ty) => {
        if let Some(value) = &$value {
            $into.insert($name.to_owned(), $crate::schema::Shape::write(value));
        }
    };
    (@write part, $into:ident, $name:expr, $value:expr, $Type:ty, $Sub:ident) => {
        if $value != <$Type>::default() {
            let words = <$Sub as $crate::schema::Words>::of(&$value);
            $into.insert($name.to_owned(), $crate::schema::Shape::write(&words));
        }
    };
    (@write $how:ident, $into:ident, $name:expr, $value:expr, $Type:ty) => {
        $into.insert($name.to_owned(), $crate::schema::Shape::write(&$value));
    };
}

pub use crate::__entry as entry;
