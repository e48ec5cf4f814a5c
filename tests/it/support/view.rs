//! What a client sees of a room by what it was told, frame by frame; complains about what does not fit.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// A room as a client sees it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RoomView {
    /// The last message.
    pub seq: u64,
    /// Connections with their user and state.
    pub people: BTreeMap<String, (String, String)>,
    /// Cursors by connection.
    pub cursors: BTreeMap<String, String>,
}

impl RoomView {
    /// What a `joined` shows.
    pub fn of(joined: &Value) -> Self {
        let mut view = Self { seq: joined["seq"].as_u64().expect("a place"), ..Self::default() };
        for member in list(&joined["members"]) {
            for tab in list(&member["connections"]) {
                let person = (text(&member["user"]["user_id"]), tab["state"].to_string());
                view.people.insert(text(&tab["connection_id"]), person);
            }
        }
        view.take_cursors(&joined["cursors"]);
        view
    }

    /// Takes a frame; says whether it was of a kind that is looked at.
    pub fn take(&mut self, frame: &Value) -> bool {
        match frame["type"].as_str() {
            Some("message") => {
                assert_eq!(frame["seq"], self.seq + 1, "messages come in order, without a hole, once each");
                self.seq += 1;
            }
            Some("presence") => self.take_presence(frame),
            Some("cursors") => self.take_cursors(&frame["cursors"]),
            _ => return false,
        }
        true
    }

    fn take_presence(&mut self, frame: &Value) {
        let users_before = self.users();
        let (joins, leaves) = (list(&frame["joins"]), list(&frame["leaves"]));
        for join in joins {
            let person = (text(&join["user"]["user_id"]), join["state"].to_string());
            let known = self.people.insert(text(&join["connection_id"]), person);
            assert!(known.is_none(), "joined twice: {join}");
        }
        for leave in leaves {
            let connection = text(&leave["connection_id"]);
            assert!(self.people.remove(&connection).is_some(), "left without having joined: {leave}");
            self.cursors.remove(&connection);
        }
        for update in list(&frame["updates"]) {
            let person = self.people.get_mut(&text(&update["connection_id"])).expect("updated without having joined");
            person.1 = update["state"].to_string();
        }
        let users = self.users();
        let firsts: Vec<_> = joins.iter().filter(|join| join["first"] == true).collect();
        let lasts: Vec<_> = leaves.iter().filter(|leave| leave["last"] == true).collect();
        let came: BTreeSet<_> = firsts.iter().map(|join| text(&join["user"]["user_id"])).collect();
        let went: BTreeSet<_> = lasts.iter().map(|leave| text(&leave["user_id"])).collect();
        assert_eq!((came.len(), went.len()), (firsts.len(), lasts.len()), "once for each user");
        assert_eq!(came, users.difference(&users_before).cloned().collect(), "`first`");
        assert_eq!(went, users_before.difference(&users).cloned().collect(), "`last`");
    }

    fn take_cursors(&mut self, cursors: &Value) {
        for cursor in list(cursors) {
            let connection = text(&cursor["connection_id"]);
            match &cursor["position"] {
                Value::Null => self.cursors.remove(&connection),
                position => self.cursors.insert(connection, position.to_string()),
            };
        }
    }

    fn users(&self) -> BTreeSet<String> {
        self.people.values().map(|(user, _)| user.clone()).collect()
    }
}

fn list(value: &Value) -> &[Value] {
    value.as_array().expect("a list")
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}
