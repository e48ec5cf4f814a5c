//! Good tokens, and every way in which one can be bad.

use super::*;

const SECRET: &str = "a secret of at least thirty-two bytes";

fn sign_with(header: &Header, claims: &Value, secret: &str) -> String {
    jsonwebtoken::encode(header, claims, &EncodingKey::from_secret(secret.as_bytes())).unwrap()
}

fn sign(claims: &Value) -> String {
    sign_with(&Header::new(Algorithm::HS256), claims, SECRET)
}

fn verify(token: &str) -> Result<Identity, TokenError> {
    TokenVerifier::new(SECRET).verify(token)
}

fn in_seconds(seconds: i64) -> i64 {
    now_utc().timestamp() + seconds
}

/// The error for a token that is good but for these claims.
fn fault_of(change: Value) -> TokenError {
    let mut claims = json!({"sub": "u1", "exp": in_seconds(60)});
    for (claim, value) in change.as_object().unwrap() {
        claims[claim] = value.clone();
    }
    verify(&sign(&claims)).expect_err("was taken")
}

#[test]
fn a_full_token_is_a_person_with_roles() {
    let exp = in_seconds(60);
    let identity = verify(&sign(&json!({"sub": "auth0|1", "exp": exp, "name": " Ada ", "color": "#ABC",
        "avatar_url": "https://example.com/a.png", "projects": {"p": "viewer", "q": "owner"}})))
    .unwrap();
    let user = &identity.user;
    assert_eq!((user.user_id.as_str(), user.name.as_str(), user.color.as_str()), ("auth0|1", "Ada", "#aabbcc"));
    assert_eq!(user.avatar_url.as_deref(), Some("https://example.com/a.png"));
    assert_eq!(identity.claimed_role(&"q".parse().unwrap()), Some(Role::Owner));
    assert_eq!(identity.claimed_role(&"r".parse().unwrap()), None);
    assert_eq!(identity.expires_at.unwrap().timestamp(), exp);
    assert_eq!(identity.proven_user(), Some(&user.user_id));
}

#[test]
fn the_least_token_has_a_name_and_a_color() {
    let user = verify(&sign(&json!({"sub": "u1", "exp": in_seconds(60), "name": null}))).unwrap().user;
    assert_eq!((user.name.as_str(), user.color.len(), &user.avatar_url), ("u1", 7, &None));
    let long = verify(&sign(&json!({"sub": "u1", "exp": in_seconds(60), "name": format!("\u{7}{}", "ä".repeat(99))})));
    assert_eq!(long.unwrap().user.name, "ä".repeat(64));
    let late = verify(&sign(&json!({"sub": "u1", "exp": 1.0e18}))).unwrap();
    assert_eq!(late.expires_at.unwrap().timestamp(), EXPIRY_MAX_S);
}

#[test]
fn time_counts_with_a_small_leeway() {
    assert!(verify(&sign(&json!({"sub": "u1", "exp": in_seconds(-2)}))).is_ok());
    assert_eq!(fault_of(json!({"exp": in_seconds(-10)})), TokenError::Expired);
    assert_eq!(fault_of(json!({"exp": 0})), TokenError::Expired);
    assert_eq!(fault_of(json!({"nbf": in_seconds(30)})), TokenError::NotYetValid);
}

#[test]
fn each_bad_claim_is_named() {
    for (claims, claim) in [
        (json!({"exp": null}), "exp"),
        (json!({"exp": "soon"}), "exp"),
        (json!({"exp": -1}), "exp"),
        (json!({"nbf": "soon"}), "nbf"),
        (json!({"sub": null}), "sub"),
        (json!({"sub": 7}), "sub"),
        (json!({"sub": ""}), "sub"),
        (json!({"sub": "a\nb"}), "sub"),
        (json!({"sub": "x".repeat(129)}), "sub"),
        (json!({"sub": "guest-0190a6b2-7c1e-7000-8000-000000000001"}), "sub"),
        (json!({"name": 7}), "name"),
        (json!({"color": "red;"}), "color"),
        (json!({"avatar_url": "javascript:alert(1)"}), "avatar_url"),
        (json!({"avatar_url": "/a.png"}), "avatar_url"),
        (json!({"avatar_url": format!("https://example.com/{}", "x".repeat(1024))}), "avatar_url"),
        (json!({"projects": {"p": "king"}}), "projects"),
        (json!({"projects": {"../p": "owner"}}), "projects"),
        (json!({"projects": ["p"]}), "projects"),
    ] {
        assert_eq!(fault_of(claims.clone()), TokenError::Claim(claim), "{claims}");
    }
    assert_eq!(fault_of(json!({"aud": "another-app"})), TokenError::Audience);
}

#[test]
fn only_our_signature_counts() {
    let claims = json!({"sub": "u1", "exp": in_seconds(60)});
    let other_secret = sign_with(&Header::new(Algorithm::HS256), &claims, "another secret of thirty-two bytes, too");
    assert_eq!(verify(&other_secret).unwrap_err(), TokenError::Signature);
    let other_size = sign_with(&Header::new(Algorithm::HS512), &claims, SECRET);
    assert_eq!(verify(&other_size).unwrap_err(), TokenError::Algorithm);

    let good = sign(&claims);
    let (head_and_claims, signature) = good.rsplit_once('.').unwrap();
    assert_eq!(verify(&format!("{head_and_claims}.")).unwrap_err(), TokenError::Signature);
    // {"alg":"none"}, with and without the old signature.
    let claims_part = head_and_claims.split_once('.').unwrap().1;
    for forged in
        [format!("eyJhbGciOiJub25lIn0.{claims_part}."), format!("eyJhbGciOiJub25lIn0.{claims_part}.{signature}")]
    {
        assert!(matches!(verify(&forged), Err(TokenError::Malformed | TokenError::Algorithm)));
    }
    let mut critical = Header::new(Algorithm::HS256);
    critical.crit = Some(vec!["b64".into()]);
    assert_eq!(verify(&sign_with(&critical, &claims, SECRET)).unwrap_err(), TokenError::Malformed);
}

#[test]
fn rubbish_is_refused_and_not_repeated() {
    for rubbish in ["", ".", "..", "a.b.c", "hunter2", &"x".repeat(100_000), "ä.ö.ü", "eyJhbGciOiJIUzI1NiJ9.e30.x"] {
        let error = verify(rubbish).unwrap_err();
        assert!(!error.to_string().contains("hunter2"), "{error}");
    }
    let secret_claim = fault_of(json!({"projects": {"hunter2": "hunter2"}}));
    assert!(!format!("{secret_claim} {secret_claim:?}").contains("hunter2"));
}

#[test]
fn what_is_minted_is_taken() {
    let projects = [("p".parse().unwrap(), Role::Editor)];
    let sub = "ada".parse().unwrap();
    let token = mint_token(SECRET, &sub, Some("Ada"), &projects, Duration::from_secs(60)).unwrap();
    let identity = verify(&token).unwrap();
    assert_eq!((&identity.user.user_id, identity.user.name.as_str()), (&sub, "Ada"));
    assert_eq!(*identity.projects, projects);
    assert!(mint_token(SECRET, &sub, None, &[], Duration::MAX).is_ok_and(|token| verify(&token).is_ok()));
    let guest = "guest-x".parse().unwrap();
    assert_eq!(mint_token(SECRET, &guest, None, &[], Duration::ZERO).unwrap_err(), TokenError::Claim("sub"));
}
