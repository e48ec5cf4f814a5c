//! A tab on the demo page, in the words of the person before it: enter, write, say, point. What they see is in `sight`.

use std::time::Duration;

use thirtyfour::{Key, TypingData, WindowHandle};

use super::{Browser, DESKTOP, Device, PATIENCE};
use crate::support::TestHub;

/// A pointer takes this long from one place to the next: a hand's movement, not a jump.
const POINTER: Duration = Duration::from_millis(60);

/// More stops than the page has.
const TAB_STOPS_MAX: usize = 20;

/// A tab.
pub struct Page {
    pub(super) browser: Browser,
    window: WindowHandle,
}

impl Page {
    pub(super) fn of(browser: Browser, window: WindowHandle) -> Self {
        Self { browser, window }
    }

    pub(super) async fn prepare(&self, device: Device) {
        let session = &self.browser.session;
        session.set_script_timeout(PATIENCE * 2).await.expect("a timeout");
        if device == Device::Desktop {
            let (width, height) = DESKTOP;
            session.set_window_rect(0, 0, width, height).await.expect("a size");
            let frame = self.ask("[outerWidth - innerWidth, outerHeight - innerHeight]").await;
            let of_frame = |side: usize| u32::try_from(frame[side].as_u64().expect("pixels")).expect("pixels");
            let (width, height) = (width + of_frame(0), height + of_frame(1));
            session.set_window_rect(0, 0, width, height).await.expect("a size");
        }
    }

    /// Looks at this tab; others of its window are hidden by it.
    pub(super) async fn turn_to(&self) {
        self.browser.session.switch_to_window(self.window.clone()).await.expect("the tab is open");
    }

    // --- coming and going ---

    /// Goes straight into a room and waits until the page is live.
    pub async fn enter(&self, hub: &TestHub, name: &str, room: &str) {
        self.goto(&format!("http://{}/?name={name}&room={room}", hub.address())).await;
        self.until_connection("live").await;
    }

    /// As [`enter`](Self::enter), as the person of a token.
    pub async fn enter_with_token(&self, hub: &TestHub, token: &str, room: &str) {
        self.goto(&format!("http://{}/?token={token}&room={room}", hub.address())).await;
        self.until_connection("live").await;
    }

    /// Opens an address in this tab.
    pub async fn goto(&self, url: &str) {
        self.turn_to().await;
        self.browser.session.goto(url).await.expect("the page");
    }

    /// Reloads the page and waits until it is live.
    pub async fn reload(&self) {
        self.turn_to().await;
        self.browser.session.refresh().await.expect("the page");
        self.until_connection("live").await;
    }

    /// Goes back to the page before and waits until it is live.
    pub async fn back(&self) {
        self.turn_to().await;
        self.browser.session.back().await.expect("a page before");
        self.until_connection("live").await;
    }

    /// Another tab of the same window, looked at.
    pub async fn new_tab(&self) -> Self {
        self.turn_to().await;
        let window = self.browser.session.new_tab().await.expect("a tab");
        let tab = Self { browser: self.browser.clone(), window };
        tab.turn_to().await;
        tab
    }

    /// A window beside this one.
    pub async fn new_window(&self) -> Self {
        self.turn_to().await;
        let window = self.browser.session.new_window().await.expect("a window");
        Self { browser: self.browser.clone(), window }
    }

    pub async fn close(self) {
        self.turn_to().await;
        self.browser.session.close_window().await.expect("it was open");
    }

    // --- doing ---

    /// Presses keys, wherever the focus is.
    pub async fn keys(&self, keys: impl Into<TypingData>) {
        self.turn_to().await;
        let chain = self.browser.session.action_chain_with_delay(None, Some(Duration::ZERO));
        chain.send_keys(keys).perform().await.expect("a keyboard");
    }

    /// Goes back with Shift+Tab until an element has the focus.
    pub async fn tab_back_to(&self, id: &str) {
        let focused = format!("document.activeElement.id === '{id}'");
        for _ in 0..TAB_STOPS_MAX {
            if self.ask(&focused).await == true {
                return;
            }
            let chain = self.browser.session.action_chain_with_delay(None, Some(Duration::ZERO));
            chain.key_down(Key::Shift).send_keys(Key::Tab).key_up(Key::Shift).perform().await.expect("a keyboard");
        }
        panic!("#{id} cannot be reached with the Tab key");
    }

    /// Writes into the composer without sending.
    pub async fn write(&self, text: &str) {
        self.ask("document.getElementById('composer').focus()").await;
        self.keys(text).await;
    }

    /// Writes a message and sends it.
    pub async fn say(&self, text: &str) {
        self.write(text).await;
        self.keys(Key::Enter).await;
    }

    /// Moves the pointer to a place on the board, from 0 to 1 both ways.
    pub async fn point(&self, x: f64, y: f64) {
        let board =
            self.ask("(box => [box.left, box.top, box.width, box.height])(board.getBoundingClientRect())").await;
        let side = |n: usize| board[n].as_f64().expect("a number");
        self.move_pointer(side(0) + side(2) * x, side(1) + side(3) * y).await;
    }

    /// Moves the pointer to a place in the window.
    pub async fn move_pointer(&self, x: f64, y: f64) {
        self.turn_to().await;
        let chain = self.browser.session.action_chain_with_delay(None, Some(POINTER));
        chain.move_to(x as i64, y as i64).perform().await.expect("a pointer");
    }

    /// Clicks where the pointer is.
    pub async fn click(&self) {
        self.turn_to().await;
        let chain = self.browser.session.action_chain_with_delay(None, Some(Duration::ZERO));
        chain.click().perform().await.expect("a pointer");
    }
}
