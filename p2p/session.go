package p2p

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/libp2p/go-libp2p/core/network"

	"tertulia/election"
	"tertulia/ordering"
	"tertulia/p2p/wire"
)

// Limits of a session.
const (
	writeWait    = 5 * time.Second        // for the peer to take what is written
	silenceExtra = 700 * time.Millisecond // beyond the time-out of B1, until the connection is closed
	maxRefusals  = 16                     // malformed frames, then the stream is closed
	rttWeight    = 8                      // a new round trip counts for one part in this many
)

// session is one long-lived stream. Its reader tells the Handler what comes, its
// writer sends what waits and beats, and its watch judges the silence, which it
// does also while the writer waits for a peer that takes nothing.
type session struct {
	n      *Network
	link   *link
	stream network.Stream
	opened bool         // by this side
	reader *wire.Reader // set with an accepted stream, whose hello is read already
	out    *outbox
	ctx    context.Context
	cancel context.CancelFunc
	up     chan struct{} // closed when hello was exchanged
	ended  chan struct{} // closed when all is over
	look   chan struct{} // one slot: the rate changed, so judge by the new one
	busy   atomic.Bool   // the Handler is being told something

	mu        sync.Mutex
	hello     *wire.Hello // nil until the peer said it
	detector  *election.Detector
	suspected bool
	left      bool // the peer said goodbye
	rtt       time.Duration
	echo      uint64    // SentNS of the peer's last heartbeat
	echoAt    time.Time // when it came
	health    Health    // the peer's
	hears     []ordering.DeviceKey
	told      map[ordering.DeviceKey]telling // the signed addresses sent

	shared map[ordering.RoomID]bool // the reader's: what the Handler was told last; nil: nothing
}

func (n *Network) newSession(l *link, stream network.Stream, opened bool) *session {
	s := &session{
		n: n, link: l, stream: stream, opened: opened, out: newOutbox(),
		up: make(chan struct{}), ended: make(chan struct{}), look: make(chan struct{}, 1),
		detector: election.NewDetector(time.Now()), health: Health{DiskOK: true}, told: map[ordering.DeviceKey]telling{},
	}
	// Not a child of Network.ctx: a session outlives it by its goodbye.
	s.ctx, s.cancel = context.WithCancel(context.Background())
	return s
}

// run serves the stream until it ends.
func (s *session) run() {
	reset := context.AfterFunc(s.ctx, func() { _ = s.stream.Reset() })
	var others sync.WaitGroup
	others.Go(func() {
		defer s.cancel()
		if err := s.read(); err != nil {
			s.n.log.Debug("stream ends", "peer", s.link.id, "err", err)
		}
	})
	others.Go(s.watch)
	if err := s.write(); err != nil {
		s.n.log.Debug("stream ends", "peer", s.link.id, "err", err)
	}
	s.cancel()
	others.Wait()
	reset()
	s.n.release(s)
}

// abandon ends a session that never ran.
func (s *session) abandon() {
	s.cancel()
	_ = s.stream.Reset()
	s.n.release(s)
}

// readHello reads the first frame of a stream, which is to be there in time.
func readHello(stream network.Stream, wait time.Duration) (*wire.Hello, *wire.Reader, error) {
	if err := stream.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, nil, fmt.Errorf("p2p: set a deadline: %w", err)
	}
	r := wire.NewReader(stream)
	f, err := r.Read()
	if err != nil {
		return nil, nil, err
	}
	h, ok := f.(*wire.Hello)
	if !ok {
		return nil, nil, fmt.Errorf("%w: the first frame is no hello", wire.ErrMalformed)
	}
	return h, r, stream.SetReadDeadline(time.Time{})
}

// read takes in frames until the stream ends. It returns nil after a goodbye.
func (s *session) read() error {
	hello := s.hello
	if s.reader == nil {
		var err error
		if hello, s.reader, err = readHello(s.stream, helloWait); err != nil {
			s.n.refuse(s.link.device, err)
			return err
		}
	}
	s.greet(hello)
	s.announce(*hello)
	for refusals := 0; ; {
		f, err := s.reader.Read()
		if err == nil {
			var left bool
			if left, err = s.take(f); left {
				return nil
			}
		}
		switch {
		case err == nil:
		case errors.Is(err, wire.ErrUnknown):
			s.n.unknownFrames.Add(1)
			continue
		case errors.Is(err, wire.ErrMalformed) && refusals < maxRefusals:
			refusals++
			s.n.refuse(s.link.device, err)
			continue
		default:
			s.n.refuse(s.link.device, err)
			return err
		}
	}
}

// greet notes the peer's hello, before anybody else knows of the session.
func (s *session) greet(h *wire.Hello) {
	s.mu.Lock()
	s.hello = h
	s.mu.Unlock()
	s.n.mu.Lock()
	s.link.last = *h
	if rooms := s.n.shares[s.link.device]; len(rooms) > 0 {
		s.out.share(rooms)
	}
	s.n.untold = true
	s.n.mu.Unlock()
	s.n.hearsVersion.Add(1)
}

// announce tells the Handler that the peer is up.
func (s *session) announce(h wire.Hello) {
	l := s.link
	l.deliver.Lock()
	if old := l.told; old != nil {
		l.told = nil
		s.n.cfg.Handler.PeerDown(l.device, old.reason())
	}
	if s.ctx.Err() == nil {
		l.told = s
		s.busy.Store(true)
		s.n.cfg.Handler.PeerUp(l.device, h)
		s.alive(time.Now(), true)
		s.busy.Store(false)
	}
	l.deliver.Unlock()
	close(s.up)
	s.n.wake() // signed addresses are due
}

// take handles one frame and reports whether it was the last. A frame that has
// no place on this stream is an ErrMalformed.
func (s *session) take(f wire.Frame) (left bool, err error) {
	now := time.Now()
	switch f := f.(type) {
	case *wire.Heartbeat:
		s.beaten(f, now)
	case *wire.Leaving:
		s.mu.Lock()
		s.left = true
		s.mu.Unlock()
		return true, nil
	case *wire.Rooms:
		s.alive(now, false)
		if s.shares(f.IDs) {
			s.pass(func(h Handler) { h.SharedRooms(s.link.device, f.IDs) })
		}
	case *wire.Room:
		s.alive(now, traffic(f))
		s.pass(func(h Handler) { h.Message(s.link.device, f.Room, f.Msg) })
	case *wire.PeerRecords:
		s.alive(now, false)
		s.n.learnAll(s.link, f.Envelopes)
	case *wire.Hello, *wire.JoinRequest, *wire.JoinReply, *wire.FetchRequest, *wire.FetchRun, *wire.FetchEnd,
		*wire.KeysRequest, *wire.KeysReply, *wire.FinalsRequest, *wire.FinalsPage, *wire.NearbyRequest, *wire.NearbyReply:
		return false, fmt.Errorf("%w: %T on a long-lived stream", wire.ErrMalformed, f)
	}
	return false, nil
}

// shares notes the rooms that the peer shares and reports whether they are
// others than before. The reader alone calls it.
func (s *session) shares(rooms []ordering.RoomID) (changed bool) {
	set := make(map[ordering.RoomID]bool, len(rooms))
	for _, r := range rooms {
		set[r] = true
	}
	if s.shared != nil && maps.Equal(s.shared, set) {
		return false
	}
	s.shared = set
	return true
}

// traffic reports whether a message is a sign that something goes on in a room,
// which both sides must judge alike: what idle rooms say is not.
func traffic(f *wire.Room) bool {
	switch f.Msg.(type) {
	case *ordering.Digest, *ordering.Standing, *ordering.Ephemeral:
		return false
	case *ordering.Push, *ordering.Have, *ordering.Raft, *ordering.Bully, *ordering.Relay,
		*ordering.Ack, *ordering.SealAsk, *ordering.SealOK, *ordering.CutWant, *ordering.CutHave:
		return true
	}
	return false
}

func (s *session) alive(now time.Time, traffic bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if !traffic {
		s.detector.Alive(now)
		return
	}
	rate := s.detector.Interval()
	s.detector.Heard(now)
	s.wakeAfter(rate)
}

// wakeAfter wakes the writer and the watch, which sleep by a rate that may have
// changed. mu is held.
func (s *session) wakeAfter(rate time.Duration) {
	if s.detector.Interval() == rate {
		return
	}
	s.out.poke()
	select {
	case s.look <- struct{}{}:
	default:
	}
}

// tell calls the Handler, unless it was told that the peer is down.
func (s *session) tell(f func(Handler)) {
	s.link.deliver.Lock()
	defer s.link.deliver.Unlock()
	if s.link.told == s {
		f(s.n.cfg.Handler)
	}
}

// pass is tell for what the reader read. While the Handler works the reader
// stands still, and nobody is blamed for that silence.
func (s *session) pass(f func(Handler)) {
	s.busy.Store(true)
	s.tell(f)
	s.alive(time.Now(), false)
	s.busy.Store(false)
}

func (s *session) beaten(f *wire.Heartbeat, now time.Time) {
	s.mu.Lock()
	s.detector.Beat(now)
	s.echo, s.echoAt = f.SentNS, now
	health := Health{f.DiskOK, f.Draining}
	ails := health != s.health
	s.health = health
	if age := uint64(now.Sub(s.n.epoch)); f.EchoNS > 0 && age > f.EchoNS && age-f.EchoNS >= f.HeldNS {
		rtt := time.Duration(age - f.EchoNS - f.HeldNS)
		if s.rtt == 0 {
			s.rtt = rtt
		}
		s.rtt += (rtt - s.rtt) / rttWeight
	}
	if f.HearsChanged {
		s.hears = f.Hears
	}
	s.mu.Unlock()
	s.judge(now)
	if ails {
		s.pass(func(h Handler) { h.PeerHealth(s.link.device, health) })
	}
	if f.HearsChanged {
		s.pass(func(h Handler) { h.PeerHears(s.link.device, f.Hears) })
	}
}

// write sends until the stream ends or Run does.
func (s *session) write() error {
	w := wire.NewWriter(s.stream)
	n := s.n
	if err := s.send(w, &wire.Hello{BootID: n.boot, Instance: n.cfg.Instance, Name: n.cfg.Name, Version: n.cfg.Version}); err != nil {
		return err
	}
	var beat beat
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		if err := s.drain(w, &beat); err != nil {
			return err
		}
		timer.Reset(time.Until(s.beatDue(&beat)))
		select {
		case <-s.ctx.Done():
			return nil
		case <-n.ctx.Done():
			return s.sayGoodbye(w)
		case <-s.out.wake:
		case <-timer.C:
		}
	}
}

// beat is the state of the outgoing heartbeats.
type beat struct {
	last    time.Time
	counter uint64
	hears   uint64 // version of what was told; versions begin at 1
	health  uint64 // version of what was told, which the first heartbeat tells
}

// drain sends all that waits, and a heartbeat whenever one is due.
func (s *session) drain(w *wire.Writer, b *beat) error {
	if err := s.stream.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return fmt.Errorf("p2p: set a deadline: %w", err)
	}
	for {
		if now := time.Now(); !now.Before(s.beatDue(b)) {
			if err := s.stream.SetWriteDeadline(now.Add(writeWait)); err != nil {
				return fmt.Errorf("p2p: set a deadline: %w", err)
			}
			if err := w.Write(s.heartbeat(now, b)); err != nil {
				return err
			}
			if err := w.Flush(); err != nil {
				return err
			}
		}
		f := s.next()
		if f == nil {
			return w.Flush()
		}
		if err := w.Write(f); err != nil {
			if !errors.Is(err, wire.ErrOversize) {
				return err
			}
			s.n.log.Error("frame not sent", "peer", s.link.id, "err", err)
			continue
		}
		if r, ok := f.(*wire.Room); ok && traffic(r) {
			now := time.Now()
			s.mu.Lock()
			rate := s.detector.Interval()
			s.detector.Said(now)
			s.wakeAfter(rate)
			s.mu.Unlock()
		}
	}
}

// beatDue is when the next heartbeat is to be sent: in its time, or at once when
// there is news of this node's health.
func (s *session) beatDue(b *beat) time.Time {
	if s.n.healthVersion.Load() != b.health {
		return time.Time{}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return b.last.Add(s.detector.Interval())
}

// next takes a frame that waits, once the peer has said hello.
func (s *session) next() wire.Frame {
	if !s.greeted() {
		return nil
	}
	return s.out.take()
}

func (s *session) heartbeat(now time.Time, b *beat) *wire.Heartbeat {
	n := s.n
	b.health = n.healthVersion.Load()
	n.mu.Lock()
	health := n.health
	n.mu.Unlock()
	s.mu.Lock()
	b.counter++
	b.last = now
	h := &wire.Heartbeat{Counter: b.counter, SentNS: uint64(now.Sub(n.epoch)), EchoNS: s.echo, DiskOK: health.DiskOK, Draining: health.Draining}
	if s.echo > 0 {
		h.HeldNS = uint64(now.Sub(s.echoAt))
	}
	s.mu.Unlock()
	if v := n.hearsVersion.Load() + 1; v != b.hears {
		b.hears = v
		h.HearsChanged, h.Hears = true, n.hears()
	}
	return h
}

// watch judges the silence until the stream ends.
func (s *session) watch() {
	timer := time.NewTimer(0)
	defer timer.Stop()
	for {
		select {
		case <-s.ctx.Done():
			return
		case <-s.n.ctx.Done():
			return
		case <-s.look:
		case <-timer.C:
		}
		now := time.Now()
		if s.judge(now) {
			// A peer that starts anew is not to be answered on this connection.
			if err := s.n.host.Network().ClosePeer(s.link.id); err != nil {
				s.n.log.Debug("connection does not close", "peer", s.link.id, "err", err)
			}
			s.cancel()
			return
		}
		timer.Reset(s.nextLook(now))
	}
}

func (s *session) nextLook(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	next := s.detector.Interval()
	if !s.suspected {
		next = min(next, s.detector.Deadline().Sub(now))
	}
	return max(next, time.Millisecond)
}

// judge applies B1 and reports whether the silence has lasted so long that the
// connection is to be closed.
func (s *session) judge(now time.Time) (dead bool) {
	if s.busy.Load() {
		return false
	}
	s.mu.Lock()
	suspects := s.detector.Suspects(now)
	changed := suspects != s.suspected
	s.suspected = suspects
	dead = suspects && s.detector.Silence(now) > s.detector.Timeout()+silenceExtra
	s.mu.Unlock()
	if changed {
		s.n.hearsVersion.Add(1)
		s.tell(func(h Handler) { h.PeerSuspected(s.link.device, suspects) })
	}
	return dead
}

// send writes one frame at once.
func (s *session) send(w *wire.Writer, f wire.Frame) error {
	if err := s.stream.SetWriteDeadline(time.Now().Add(writeWait)); err != nil {
		return fmt.Errorf("p2p: set a deadline: %w", err)
	}
	if err := w.Write(f); err != nil {
		return err
	}
	return w.Flush()
}

// sayGoodbye sends what waits and Leaving, and lets the peer close the stream.
func (s *session) sayGoodbye(w *wire.Writer) error {
	if err := s.stream.SetWriteDeadline(time.Now().Add(stopGrace)); err != nil {
		return fmt.Errorf("p2p: set a deadline: %w", err)
	}
	for f := s.next(); f != nil; f = s.next() {
		if err := w.Write(f); err != nil {
			return err
		}
	}
	if err := errors.Join(w.Write(&wire.Leaving{}), w.Flush(), s.stream.CloseWrite()); err != nil {
		return err
	}
	timer := time.NewTimer(stopGrace)
	defer timer.Stop()
	select {
	case <-s.ctx.Done():
	case <-timer.C:
	}
	return nil
}

func (s *session) greeted() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.hello != nil
}

func (s *session) bootID() (id uint64, known bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hello == nil {
		return 0, false
	}
	return s.hello.BootID, true
}

func (s *session) isSuspected() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.suspected
}

func (s *session) roundTrip() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.rtt
}

func (s *session) reason() DownReason {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.left {
		return Left
	}
	return Lost
}

func (s *session) over() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// describe fills in what a session knows of its peer.
func (s *session) describe(p *Peer) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p.State = Connected
	if s.suspected {
		p.State = Suspected
	}
	p.RTT, p.DiskOK, p.Draining, p.Hears = s.rtt, s.health.DiskOK, s.health.Draining, s.hears
	p.Addr, p.Relayed = remoteAddr(s.stream)
}

// refuse counts an error of the wire; those of the stream itself are nobody's
// fault.
func (n *Network) refuse(d ordering.DeviceKey, err error) {
	switch {
	case errors.Is(err, wire.ErrOversize):
		n.refused(d, ordering.Oversize, err)
	case errors.Is(err, wire.ErrMalformed):
		n.refused(d, ordering.Malformed, err)
	case errors.Is(err, wire.ErrUnknown):
		n.unknownFrames.Add(1)
	}
}

// refused counts what a device said in vain. The first time is worth a line of
// the log; those after it would be the device's way to fill it.
func (n *Network) refused(d ordering.DeviceKey, reason ordering.Reason, err error) {
	n.mu.Lock()
	level := slog.LevelDebug
	if !n.blamed[d] && len(n.blamed) < maxRemembered {
		n.blamed[d] = true
		level = slog.LevelWarn
	}
	n.mu.Unlock()
	n.log.Log(n.ctx, level, "refused what a peer sent", "peer", PeerIDOf(d), "reason", string(reason), "err", err)
	n.cfg.Handler.Refused(d, reason)
}
