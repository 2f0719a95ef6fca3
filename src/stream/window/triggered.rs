//! Windows of any kind with any trigger, as Flink's window operator does it: a pane per window and key, and timers.
//!
//! A window goes at its *clean-up time*, for which there is a timer of the same domain: when its time is over and, in event time, the
//! allowed lateness. The trigger's timers are kept by (window, key) too; one that fires for a window that is gone does nothing.

use super::{
    Late, Window, WindowContext, Windows,
    contents::Contents,
    pane::{OpenSession, Pane, Panes},
    trigger::{Change, Trigger, TriggerContext, TriggerResult},
};
use crate::engine::{Halt, OperatorCounter, Timestamp};
use crate::state::{Key, StateKey};
use crate::stream::{
    operator::{Emit, KeyedProcess, Output},
    timer::{Service, TimeDomain},
};
use std::rc::Rc;

/// What a timer is for: start and end of a window, and its key.
pub(super) type Span<K> = (Timestamp, (Timestamp, K));

pub(super) type PaneOf<K, T, C, G> = Pane<<C as Contents<K, T>>::Held, <G as Trigger<T>>::State>;

pub(super) struct Triggered<K, T, C: Contents<K, T>, G: Trigger<T>> {
    pub(super) windows: Windows,
    pub(super) lateness: i64,
    pub(super) contents: C,
    pub(super) trigger: G,
    pub(super) panes: Panes<K, PaneOf<K, T, C, G>>,
    pub(super) timers: Rc<Service<Span<K>>>,
    pub(super) late: Option<Output<Late<T>>>,
    pub(super) late_records: OperatorCounter,
}

impl<K: StateKey, T: Clone + Send + 'static, C: Contents<K, T>, G: Trigger<T>> Triggered<K, T, C, G> {
    fn context(&self) -> TriggerContext {
        TriggerContext::at(self.timers.watermark(), self.timers.now())
    }

    /// When the window goes; never, where time cannot get there.
    fn cleanup(&self, window: Window) -> Option<Timestamp> {
        let lateness = if self.windows.domain() == TimeDomain::EventTime { self.lateness } else { 0 };
        let time = window.max_timestamp().saturating_add(lateness);
        (!self.windows.never_end() && time != Timestamp::MAX).then_some(time)
    }

    fn is_late(&self, window: Window) -> bool {
        self.windows.domain() == TimeDomain::EventTime
            && self.cleanup(window).is_some_and(|cleanup| cleanup <= self.timers.watermark())
    }

    /// Event time of what a window emits: its last millisecond; where it has no end, the time of what fired it.
    fn emits_at(&self, window: Window, cause: Timestamp) -> Timestamp {
        if self.windows.never_end() { cause } else { window.max_timestamp() }
    }

    /// Does what a trigger has asked for.
    fn change_timers(&self, key: &Key<K>, window: Window, context: TriggerContext) -> Result<(), Halt> {
        context.timers.into_iter().try_for_each(|(change, domain, time)| self.change_timer(key, window, change, domain, time))
    }

    fn change_timer(
        &self,
        key: &Key<K>,
        window: Window,
        change: Change,
        domain: TimeDomain,
        time: Timestamp,
    ) -> Result<(), Halt> {
        let span = (window.start, (window.end, key.value.clone()));
        match change {
            Change::Register => self.timers.queue(domain).register(key.hash, &span, time),
            Change::Delete => self.timers.queue(domain).delete(key.hash, &span, time),
        }
    }

    fn change_cleanup(&self, key: &Key<K>, window: Window, change: Change) -> Result<(), Halt> {
        match self.cleanup(window) {
            Some(time) => self.change_timer(key, window, change, self.windows.domain(), time),
            None => Ok(()),
        }
    }

    /// What a session has become that takes in `window`; none where that came too late.
    fn merge(&self, key: &Key<K>, window: Window) -> Result<Option<Window>, Halt> {
        // One that touches an open session is as late as that, which is not.
        let (cover, absorbed) = self.panes.absorb(key, window)?;
        if self.is_late(cover) {
            self.panes.remove(key, cover)?;
            return Ok(None);
        }
        if absorbed.is_empty() {
            return Ok(Some(cover));
        }
        for session in &absorbed {
            let mut context = self.context();
            self.trigger.clear(session.window(), &session.pane.trigger, &mut context);
            self.change_timers(key, session.window(), context)?;
            self.change_cleanup(key, session.window(), Change::Delete)?;
        }
        let mut context = self.context();
        self.panes.update(key, cover, |pane| {
            for OpenSession { pane: from, .. } in absorbed {
                self.trigger.merge(&mut pane.trigger, from.trigger);
                match (&mut pane.contents, from.contents) {
                    (Some(into), Some(from)) => self.contents.merge(into, from),
                    (none, from) => *none = none.take().or(from),
                }
            }
            self.trigger.on_merge(cover, &mut pane.trigger, &mut context);
        })?;
        self.change_timers(key, cover, context)?;
        Ok(Some(cover))
    }

    /// Does what the trigger has answered.
    fn act(
        &self,
        answer: TriggerResult,
        key: &Key<K>,
        window: Window,
        pane: &mut PaneOf<K, T, C, G>,
        out: &mut Emit<'_, C::Out>,
    ) -> Result<(), Halt> {
        if let Some(held) = pane.contents.as_ref().filter(|_| answer.fires()) {
            let seen = WindowContext { window, watermark: self.timers.watermark() };
            let at = self.emits_at(window, out.timestamp());
            self.contents.emit(&key.value, &seen, held, &mut out.at(at))?;
        }
        if answer.purges() {
            pane.contents = None;
        }
        Ok(())
    }

    fn add(&self, key: &Key<K>, window: Window, (at, value): (Timestamp, T), out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        let mut context = self.context();
        let done = self.panes.upsert(key, window, |pane| {
            let answer = self.trigger.on_element(&value, at, window, &mut pane.trigger, &mut context);
            self.contents.add(pane.contents.get_or_insert_with(|| self.contents.create()), value);
            self.act(answer, key, window, pane, out)
        })?;
        done.unwrap_or(Ok(()))?;
        self.change_timers(key, window, context)?;
        self.change_cleanup(key, window, Change::Register)
    }

    /// A timer of a window is due.
    fn fire(&self, domain: TimeDomain, time: Timestamp, span: Span<K>, out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        let (start, (end, key)) = span;
        let (window, key) = (Window { start, end }, Key::new(key));
        let mut context = self.context();
        let goes = domain == self.windows.domain() && self.cleanup(window) == Some(time);
        let done = self.panes.update(&key, window, |pane| {
            let answer = match domain {
                TimeDomain::EventTime => self.trigger.on_event_time(time, window, &mut pane.trigger, &mut context),
                TimeDomain::ProcessingTime => self.trigger.on_processing_time(time, window, &mut pane.trigger, &mut context),
            };
            if goes {
                self.trigger.clear(window, &pane.trigger, &mut context);
            }
            self.act(answer, &key, window, pane, &mut out.at(time))
        })?;
        // The window may be gone: it went up in a larger one.
        let Some(done) = done else { return Ok(()) };
        done?;
        self.change_timers(&key, window, context)?;
        if goes { self.panes.remove(&key, window) } else { Ok(()) }
    }

    fn fire_all(&self, domain: TimeDomain, until: Timestamp, out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        while let Some((time, span)) = self.timers.queue(domain).pop_due(until)? {
            self.fire(domain, time, span, out)?;
        }
        Ok(())
    }
}

impl<K: StateKey, T: Clone + Send + 'static, C: Contents<K, T>, G: Trigger<T>> KeyedProcess<K, T> for Triggered<K, T, C, G> {
    type Out = C::Out;

    fn process(&mut self, key: &Key<K>, timestamp: Timestamp, value: T, out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        let time = match self.windows.domain() {
            TimeDomain::EventTime => timestamp,
            TimeDomain::ProcessingTime => self.timers.now(),
        };
        let windows = self.windows.of(time);
        let mut all_late = !windows.is_empty();
        for window in windows {
            let window = match self.windows.merge() {
                true => self.merge(key, window)?,
                false => Some(window).filter(|window| !self.is_late(*window)),
            };
            if let Some(window) = window {
                all_late = false;
                self.add(key, window, (timestamp, value.clone()), out)?;
            }
        }
        if !all_late {
            return Ok(());
        }
        self.late_records.add(1);
        match &self.late {
            Some(late) => late.push(timestamp, Late { value, watermark: self.timers.watermark() }),
            None => Ok(()),
        }
    }

    fn on_watermark(&mut self, watermark: Timestamp, out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        self.timers.advance(watermark);
        self.fire_all(TimeDomain::EventTime, watermark, out)
    }

    fn on_processing_time(&mut self, now: Timestamp, out: &mut Emit<'_, C::Out>) -> Result<(), Halt> {
        self.fire_all(TimeDomain::ProcessingTime, now, out)
    }
}
