//! What users promise.

use futures_util::future::join_all;

use super::{Ground, user};
use crate::store::{ProfileFields, UserProfile};

fn a_user(id: &str, email: Option<&str>) -> UserProfile {
    UserProfile {
        id: user(id),
        name: id.to_uppercase(),
        color: None,
        avatar_url: None,
        email: email.map(str::to_owned),
    }
}

pub(in crate::store) async fn an_address_has_one_user(ground: &dyn Ground) {
    let stores = [ground.store().await, ground.store().await];
    let makers = (0..8).map(|maker| {
        let store = stores[maker % 2].clone();
        let new = a_user(&format!("u{maker}"), Some("ada@example.com"));
        tokio::spawn(async move { store.user_of_email(&new).await.unwrap() })
    });
    let made: Vec<_> = join_all(makers).await.into_iter().map(Result::unwrap).collect();
    assert!(made.iter().all(|user| *user == made[0]), "{made:?}");
    assert_eq!(stores[1].user(&made[0].id).await.unwrap().as_ref(), Some(&made[0]));
    let other = stores[0].user_of_email(&a_user("bob", Some("bob@example.com"))).await.unwrap();
    assert_eq!(other, a_user("bob", Some("bob@example.com")));
    // Nobody's address is nobody's user.
    for id in ["x", "y"] {
        assert_eq!(stores[0].user_of_email(&a_user(id, None)).await.unwrap().id, user(id));
    }
    assert_eq!(stores[0].user(&user("nobody")).await.unwrap(), None);
}

pub(in crate::store) async fn a_profile_is_changed_field_by_field(ground: &dyn Ground) {
    let (store, other) = (ground.store().await, ground.store().await);
    let only_name = ProfileFields { name: true, ..ProfileFields::default() };
    let first = UserProfile { color: Some("#aabbcc".into()), ..a_user("ada", None) };
    // Made whole, whatever the fields.
    assert_eq!(store.put_profile(&first, only_name).await.unwrap(), first);
    let second =
        UserProfile { name: "Ada".into(), avatar_url: Some("https://a.example/".into()), ..a_user("ada", None) };
    let renamed = UserProfile { name: "Ada".into(), ..first.clone() };
    assert_eq!(other.put_profile(&second, only_name).await.unwrap(), renamed);
    let both = ProfileFields { color: true, avatar_url: true, name: false };
    let expected = UserProfile { color: None, avatar_url: second.avatar_url.clone(), ..renamed };
    assert_eq!(other.put_profile(&UserProfile { name: "Eve".into(), ..second }, both).await.unwrap(), expected);
    assert_eq!(store.user(&user("ada")).await.unwrap(), Some(expected));
    // The address is not a field of the profile.
    let by_mail = store.user_of_email(&a_user("bob", Some("bob@example.com"))).await.unwrap();
    let all = ProfileFields { name: true, color: true, avatar_url: true };
    assert_eq!(store.put_profile(&a_user("bob", None), all).await.unwrap().email, by_mail.email);
}
