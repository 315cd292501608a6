//! Types that are nothing but their octets.

/// A type without padding, for which any octets are a value.
pub trait Plain: Copy {
    /// An array of as many octets.
    type Octets: Copy + AsRef<[u8]> + AsMut<[u8]>;

    /// How a map holds it.
    fn octets(self) -> Self::Octets;

    /// What a map held.
    fn from_octets(octets: Self::Octets) -> Self;

    /// What stands at the start of a record of a ring; None if the record is too short.
    fn from_slice(octets: &[u8]) -> Option<Self>;
}

/// Defines a struct as the kernel sees it, of a stated size, and that it is [`Plain`].
macro_rules! plain {
    ($(#[$meta:meta])* pub struct $name:ident: $size:literal { $($(#[$field_meta:meta])* $vis:vis $field:ident: $type:ty,)* }) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        #[repr(C)]
        pub struct $name { $($(#[$field_meta])* $vis $field: $type,)* }

        const _: () = assert!(size_of::<$name>() == $size, "the size that the kernel knows");
        const _: () = assert!(0 $(+ size_of::<$type>())* == $size, "no padding");

        impl $crate::abi::Plain for $name {
            type Octets = [u8; $size];

            #[inline(always)]
            fn octets(self) -> Self::Octets {
                #[expect(unsafe_code, reason = "the octets of a value, for the kernel")]
                // SAFETY: of this size, without padding (both asserted above), made of integers alone.
                unsafe {
                    core::mem::transmute(self)
                }
            }

            #[inline(always)]
            fn from_octets(octets: Self::Octets) -> Self {
                #[expect(unsafe_code, reason = "the value that octets from the kernel are")]
                // SAFETY: of this size, made of integers alone, for which all octets are values.
                unsafe {
                    core::mem::transmute(octets)
                }
            }

            #[inline(always)]
            fn from_slice(octets: &[u8]) -> Option<Self> {
                octets.first_chunk::<$size>().map(|octets| Self::from_octets(*octets))
            }
        }
    };
}
pub(crate) use plain;
