//! What is kept, and its form in Redis: a header that says which state of the data it is from, then the value, compressed
//! when that pays.

use bytes::Bytes;
use serde::{Serialize, de::DeserializeOwned};

use super::ledger::Stamp;
use crate::{
    clock::Timestamp,
    ids::ProjectId,
    store::{Project, Role, RoomKey, UserProfile},
};

/// Something that can be kept.
pub trait Value: Sized + Send + Sync + 'static {
    /// Its bytes in Redis.
    fn encode(&self) -> Bytes;

    /// Out of its bytes; `None` for what this version does not understand.
    fn decode(bytes: Bytes) -> Option<Self>;

    /// About how much memory it takes.
    fn bytes(&self) -> usize;
}

/// A finished answer, JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page(pub Bytes);

impl Value for Page {
    fn encode(&self) -> Bytes {
        self.0.clone()
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        Some(Self(bytes))
    }

    fn bytes(&self) -> usize {
        self.0.len()
    }
}

/// Ids in the order of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct Ids(pub Vec<ProjectId>);

/// Names and times of making, in the order of the rooms.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, serde::Deserialize)]
pub struct RoomNames(pub Vec<(String, Timestamp)>);

fn to_json(value: &impl Serialize) -> Bytes {
    serde_json::to_vec(value).unwrap_or_default().into() // plain structs: cannot fail
}

fn from_json<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    serde_json::from_slice(bytes).ok()
}

macro_rules! kept_as_json {
    ($($value:ty, $this:ident: $bytes:expr;)*) => {$(
        impl Value for $value {
            fn encode(&self) -> Bytes {
                to_json(self)
            }

            fn decode(bytes: Bytes) -> Option<Self> {
                from_json(&bytes)
            }

            fn bytes(&self) -> usize {
                let $this = self;
                $bytes
            }
        }
    )*};
}
kept_as_json! {
    Option<Project>, this: this.as_ref().map_or(8, |project| 64 + project.name.len() + project.id.as_str().len());
    Option<Role>, _this: 2;
    Option<UserProfile>, this: this.as_ref().map_or(8, |profile| {
        let texts = [&profile.color, &profile.avatar_url, &profile.email];
        let texts: usize = texts.into_iter().flatten().map(String::len).sum();
        128 + profile.name.len() + texts
    });
    Ids, this: this.0.iter().map(|id| 32 + id.as_str().len()).sum();
    RoomNames, this: this.0.iter().map(|(name, _)| 40 + name.len()).sum();
}

impl Value for Option<RoomKey> {
    fn encode(&self) -> Bytes {
        to_json(&self.map(|key| key.0))
    }

    fn decode(bytes: Bytes) -> Option<Self> {
        from_json::<Option<i64>>(&bytes).map(|key| key.map(RoomKey))
    }

    fn bytes(&self) -> usize {
        16
    }
}

/// The first byte: whoever changes the form below or a value's counts it up, and older entries are misses.
const FORM: u8 = 1;
const PLAIN: u8 = 0;
const COMPRESSED: u8 = 1;
const HEADER_BYTES: usize = 2 + 8 + 8;
/// In front of compressed bytes: how many they were.
const LENGTH_BYTES: usize = 4;

/// How values are put into Redis.
#[derive(Debug, Clone, Copy)]
pub(super) struct Packing {
    /// Values of at least so many bytes are compressed, if that makes them smaller.
    pub(super) compress_from: usize,
    /// Larger values are not kept.
    pub(super) bytes_max: usize,
}

impl Packing {
    /// The value with its stamp; `None` if it is too large.
    pub(super) fn pack(&self, stamp: Stamp, value: &[u8]) -> Option<Bytes> {
        if value.len() > self.bytes_max {
            return None;
        }
        let compressed = (value.len() >= self.compress_from).then(|| lz4_flex::block::compress_prepend_size(value));
        let (kind, body) = match &compressed {
            Some(smaller) if smaller.len() < value.len() => (COMPRESSED, smaller.as_slice()),
            _ => (PLAIN, value),
        };
        let mut packed = Vec::with_capacity(HEADER_BYTES + body.len());
        packed.extend([FORM, kind]);
        packed.extend(stamp.log.to_be_bytes());
        packed.extend(stamp.position.to_be_bytes());
        packed.extend(body);
        Some(packed.into())
    }

    /// A value and its stamp; `None` for anything that [`pack`](Self::pack) did not make, or an older version.
    pub(super) fn unpack(&self, packed: &Bytes) -> Option<(Stamp, Bytes)> {
        let (header, _) = packed.split_first_chunk::<HEADER_BYTES>()?;
        let number = |at: usize| header[at..at + 8].try_into().ok();
        let stamp = Stamp { log: i64::from_be_bytes(number(2)?), position: u64::from_be_bytes(number(10)?) };
        let body = packed.slice(HEADER_BYTES..);
        let value = match (header[0], header[1]) {
            (FORM, PLAIN) => body,
            (FORM, COMPRESSED) => {
                // Whatever stands there must not make us take more memory than a value may have.
                let length = u32::from_le_bytes(*body.first_chunk::<LENGTH_BYTES>()?) as usize;
                if length > self.bytes_max {
                    return None;
                }
                lz4_flex::block::decompress_size_prepended(&body).ok()?.into()
            }
            _ => return None,
        };
        Some((stamp, value))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const PACKING: Packing = Packing { compress_from: 64, bytes_max: 4096 };
    const STAMP: Stamp = Stamp { log: -3, position: 5 };

    #[test]
    fn large_values_are_compressed_and_too_large_ones_refused() {
        let packed = PACKING.pack(STAMP, &[b'a'; 4096]).unwrap();
        assert!(packed.len() < 100, "{}", packed.len());
        assert_eq!(PACKING.unpack(&packed), Some((STAMP, Bytes::from(vec![b'a'; 4096]))));
        assert_eq!(PACKING.pack(STAMP, &[b'a'; 4097]), None);
        assert_eq!(PACKING.pack(STAMP, b"short").unwrap().len(), HEADER_BYTES + 5);
    }

    #[test]
    fn a_length_that_lies_takes_no_memory() {
        let mut packed = PACKING.pack(STAMP, &[b'a'; 4096]).unwrap().to_vec();
        packed[HEADER_BYTES..HEADER_BYTES + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        assert_eq!(PACKING.unpack(&packed.into()), None);
    }

    #[test]
    fn values_come_back_as_they_were() {
        let project = Some(Project {
            id: "p".parse().unwrap(),
            name: "Über \"p\"".into(),
            visibility: crate::store::Visibility::Private,
            created_at: crate::clock::now_utc(),
        });
        assert_eq!(Value::decode(project.encode()), Some(project));
        assert_eq!(Option::<Role>::decode(None::<Role>.encode()), Some(None));
        assert_eq!(Option::<Role>::decode(Some(Role::Viewer).encode()), Some(Some(Role::Viewer)));
        assert_eq!(Option::<RoomKey>::decode(Some(RoomKey(-7)).encode()), Some(Some(RoomKey(-7))));
        assert_eq!(Option::<Role>::decode(Bytes::from_static(b"\"king\"")), None);
    }

    proptest! {
        #[test]
        fn whatever_is_packed_comes_back(value in prop::collection::vec(any::<u8>(), 0..5000)) {
            let back = PACKING.pack(STAMP, &value).map(|packed| PACKING.unpack(&packed));
            let expected = (value.len() <= PACKING.bytes_max).then(|| Some((STAMP, Bytes::from(value))));
            prop_assert_eq!(back, expected);
        }

        #[test]
        fn whatever_stands_in_redis_is_taken_or_left(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            kind in 0..2u8,
        ) {
            drop(PACKING.unpack(&bytes.clone().into()));
            let ours = [&[FORM, kind][..], &bytes].concat();
            drop(PACKING.unpack(&ours.into()));
        }
    }
}
