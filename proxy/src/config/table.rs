//! One table per config object: struct, defaults, strict parsing, range checks and reference from the same rows.
//!
//! A row is `/// doc` and `key: Format = default, in low to high or 0;`. Default and bounds are TOML text, read by the
//! same code as the document, so what the reference prints is what happens. Without a default a key is required,
//! unless its format has a value for absence (`Maybe`, tables). `key_ as "key"` spells a Rust keyword. `also route`
//! in a table with an overlay marks a key that a route may set too.

use toml_edit::TableLike;

use super::problem::At;
use super::reader::Reader;

/// One key of a table.
#[derive(Clone, Copy)]
pub struct Key {
    /// As it is written in the document.
    pub name: &'static str,
    /// What it does: a paragraph, in lines.
    pub doc: &'static [&'static str],
    /// What values it takes, in words.
    pub kind: fn() -> String,
    /// The default as TOML text.
    pub default: Option<&'static str>,
    /// In words what its absence means where there is no default; `None`: the key is required.
    pub absent: Option<&'static str>,
    /// The bounds of a number, duration or size, or of a text's length in octets.
    pub range: Option<Range>,
    /// How many elements it takes at most.
    pub count_max: Option<usize>,
    /// Whether a route may set it too, in a table that listeners and routes narrow.
    pub route: bool,
    /// The table it holds.
    pub table: Option<fn() -> TableInfo>,
}

/// Both ends are allowed, and 0 if so said; TOML text.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Range {
    pub(super) low: &'static str,
    pub(super) high: &'static str,
    pub(super) or_zero: bool,
}

/// What the reference needs to know of a table.
#[derive(Clone, Copy)]
pub struct TableInfo {
    /// The struct's name.
    pub name: &'static str,
    /// What the object is, in lines.
    pub about: &'static [&'static str],
    /// Its keys, in order.
    pub keys: &'static [Key],
    /// Whether there may be several.
    pub many: bool,
    /// Whether it is the narrower form of a global table.
    pub narrows: Narrows,
}

/// Whether a table is the narrower form of a global one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Narrows {
    /// It is not.
    No,
    /// Each of its keys may stand.
    All,
    /// Those that a route may set.
    Route,
}

/// An object of the document.
pub trait Table: Sized + Clone + Send + Sync + 'static {
    /// What messages call it.
    const TITLE: &'static str;
    /// The keys whose value names it in messages, the first present one counts.
    const LABELS: &'static [&'static str];
    /// For the reference.
    const INFO: TableInfo;

    /// Reads it; problems go to the reader. `None` if a key without a default is missing or wrong.
    #[doc(hidden)]
    fn read(table: &dyn TableLike, at: At, reader: &mut Reader) -> Option<Self>;

    /// Reads one object from its own TOML text, as tests of stages do.
    fn from_toml(text: &str) -> Result<Self, super::Problems> {
        super::source::read_table(text)
    }
}

/// The narrower form of a table, in a listener or a route: each key is optional.
pub trait Overlay: Table {
    #[doc(hidden)]
    fn read_route(table: &dyn TableLike, at: At, reader: &mut Reader) -> Option<Self>;
}

macro_rules! config_table {
    ($(#[doc = $about:literal])+ pub struct $name:ident: $title:literal, overlay $overlay:ident { $($rows:tt)* }) => {
        $crate::config::table::config_table!($(#[doc = $about])+ pub struct $name: $title { $($rows)* });
        $crate::config::table::config_table!(@overlay $name $overlay $title { $($rows)* });
    };

    (
        $(#[doc = $about:literal])+
        pub struct $name:ident: $title:literal
            $(, by $($label:literal)|+)? $(, checked by $check:path)?
        {
            $(
                $(#[doc = $doc:literal])+
                $key:ident $(as $spelled:literal)? : $format:ty $(= $default:tt)?
                    $(, in $low:tt to $high:tt $(or $zero:literal)?)? $(, at most $most:literal)? $(, also $route:ident)? ;
            )*
        }
    ) => {
        $(#[doc = $about])+
        #[derive(Clone, Debug, PartialEq)]
        pub struct $name {
            $($(#[doc = $doc])+ pub $key: <$format as $crate::config::format::Format>::Out,)*
            /// Where it stands.
            pub at: $crate::config::At,
        }

        impl $crate::config::table::Table for $name {
            const TITLE: &'static str = $title;
            const LABELS: &'static [&'static str] = &[$($($label),+)?];
            const INFO: $crate::config::table::TableInfo = $crate::config::table::TableInfo {
                name: stringify!($name),
                about: &[$($about),+],
                keys: &[$($crate::config::table::config_table!(
                    @key $format, [$($doc),+], $key $(as $spelled)?, [$($default)?],
                    [$($low $high $($zero)?)?], [$($most)?], [$($route)?]
                )),*],
                many: false,
                narrows: $crate::config::table::Narrows::No,
            };

            fn read(
                table: &dyn toml_edit::TableLike,
                at: $crate::config::At,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                let mut keys = Self::INFO.keys.iter();
                $(let $key = {
                    type Out = <$format as $crate::config::format::Format>::Out;
                    static DEFAULT: std::sync::OnceLock<Option<Out>> = std::sync::OnceLock::new();
                    reader.field::<$format>(table, keys.next()?, &at, &DEFAULT)
                };)*
                reader.unknown_keys(table, &at, &|_| true, Self::INFO.keys);
                #[allow(unused_mut, reason = "only checked tables change after they are read")]
                let mut read = Self { $($key: $key?,)* at };
                $($check(&mut read, reader);)?
                Some(read)
            }
        }
    };

    (@overlay $name:ident $overlay:ident $title:literal {
        $(
            $(#[doc = $doc:literal])+
            $key:ident $(as $spelled:literal)? : $format:ty $(= $default:tt)?
                $(, in $low:tt to $high:tt $(or $zero:literal)?)? $(, at most $most:literal)? $(, also $route:ident)? ;
        )*
    }) => {
        #[doc = concat!("[`", stringify!($name), "`] as one listener or route narrows it: what is absent stays as before.")]
        #[derive(Clone, Debug, PartialEq)]
        pub struct $overlay {
            $($(#[doc = $doc])+ pub $key: Option<<$format as $crate::config::format::Format>::Out>,)*
            /// Where it stands.
            pub at: $crate::config::At,
        }

        impl $overlay {
            /// `base`, with what stands here in its place.
            pub fn over(&self, base: &$name) -> $name {
                $name {
                    $($key: self.$key.clone().unwrap_or_else(|| base.$key.clone()),)*
                    at: self.at.clone(),
                }
            }

            fn read_keys(
                table: &dyn toml_edit::TableLike,
                at: $crate::config::At,
                reader: &mut $crate::config::reader::Reader,
                allowed: &dyn Fn(&$crate::config::Key) -> bool,
            ) -> Option<Self> {
                use $crate::config::{format::Maybe, table::Table};
                let mut keys = <Self as Table>::INFO.keys.iter();
                $(let $key = {
                    type Out = Option<<$format as $crate::config::format::Format>::Out>;
                    static DEFAULT: std::sync::OnceLock<Option<Out>> = std::sync::OnceLock::new();
                    let key = keys.next()?;
                    if allowed(key) { reader.field::<Maybe<$format>>(table, key, &at, &DEFAULT) } else { Some(None) }
                };)*
                reader.unknown_keys(table, &at, allowed, <Self as Table>::INFO.keys);
                Some(Self { $($key: $key?,)* at })
            }
        }

        impl $crate::config::table::Table for $overlay {
            const TITLE: &'static str = $title;
            const LABELS: &'static [&'static str] = &[];
            const INFO: $crate::config::table::TableInfo = $crate::config::table::TableInfo {
                name: stringify!($overlay),
                about: &[concat!(" What holds here in place of `[", $title, "]`: a key that is absent stays as it is there.")],
                keys: &[$($crate::config::table::config_table!(
                    @key $crate::config::format::Maybe<$format>, [$($doc),+], $key $(as $spelled)?, [],
                    [$($low $high $($zero)?)?], [$($most)?], [$($route)?]
                )),*],
                many: false,
                narrows: $crate::config::table::Narrows::All,
            };

            fn read(
                table: &dyn toml_edit::TableLike,
                at: $crate::config::At,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                Self::read_keys(table, at, reader, &|_| true)
            }
        }

        impl $crate::config::table::Overlay for $overlay {
            fn read_route(
                table: &dyn toml_edit::TableLike,
                at: $crate::config::At,
                reader: &mut $crate::config::reader::Reader,
            ) -> Option<Self> {
                Self::read_keys(table, at, reader, &|key| key.route)
            }
        }
    };

    (
        @key $format:ty, [$($doc:literal),+], $key:ident $(as $spelled:literal)?, [$($default:tt)?],
        [$($low:tt $high:tt $($zero:literal)?)?], [$($most:literal)?], [$($route:ident)?]
    ) => {
        $crate::config::table::Key {
            name: $crate::config::table::config_table!(@name $key $($spelled)?),
            doc: &[$($doc),+],
            kind: <$format as $crate::config::format::Format>::kind,
            default: $crate::config::table::config_table!(@option $(stringify!($default))?),
            absent: <$format as $crate::config::format::Format>::ABSENT,
            range: $crate::config::table::config_table!(@range $format $(, $low $high $($zero)?)?),
            count_max: $crate::config::table::config_table!(@option $($most)?),
            route: $crate::config::table::config_table!(@flag $($route)?),
            table: <$format as $crate::config::format::Format>::TABLE,
        }
    };
    (@name $key:ident) => { stringify!($key) };
    (@name $key:ident $spelled:literal) => { $spelled };
    (@option) => { None };
    (@option $some:expr) => { Some($some) };
    (@flag) => { false };
    (@flag route) => { true };
    (@range $format:ty) => { <$format as $crate::config::format::Format>::RANGE };
    (@range $format:ty, $low:tt $high:tt) => {
        Some($crate::config::table::Range { low: stringify!($low), high: stringify!($high), or_zero: false })
    };
    (@range $format:ty, $low:tt $high:tt $zero:literal) => {
        Some($crate::config::table::Range { low: stringify!($low), high: stringify!($high), or_zero: true })
    };
}

pub(super) use config_table;
