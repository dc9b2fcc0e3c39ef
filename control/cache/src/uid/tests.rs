use proptest::prelude::*;

use super::*;

#[test]
fn a_uuid_is_sixteen_bytes_and_comes_back_as_it_was() {
    let text = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
    assert!(matches!(Uid::of(text), Uid::Uuid(_)));
    assert_eq!(Uid::of(text).to_string(), text);
    for other in ["", "uid-a", "0A1B2C3D-4E5F-6071-8293-A4B5C6D7E8F9", "0a1b2c3d4e5f60718293a4b5c6d7e8f9"] {
        assert!(matches!(Uid::of(other), Uid::Text(_)), "{other}");
    }
    assert!(size_of::<Uid>() <= 24, "it is in every index");
}

proptest! {
    #[test]
    fn every_text_comes_back(text in "[0-9a-fA-F-]{0,40}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}") {
        prop_assert_eq!(Uid::of(&text).to_string(), text);
    }
}
