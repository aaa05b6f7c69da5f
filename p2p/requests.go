package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/core/protocol"

	"tertulia/ordering"
	"tertulia/p2p/discovery"
	"tertulia/p2p/wire"
)

// Limits of requests. Each has a stream of its own.
const (
	requestWait   = 10 * time.Second // without progress, in either direction
	admitWait     = 20 * time.Second // for the answer to a join
	joinDialWait  = 15 * time.Second // per member that an invite names
	maxJoinDials  = 4                // members dialled at a time
	maxJoinPeers  = 64               // members tried
	joinWindow    = 10 * time.Second
	joinsInWindow = 5 // of one peer

	fetchWindow     = 20 * time.Second // of waiting; in it come fetchLeastBytes or fetchLeastRuns
	fetchLeastBytes = 16 << 10
	fetchLeastRuns  = 64

	maxFinalsAnswer = 1 << 24 // places in all pages of an answer; a longer order takes another request

	perPeerStreams     = 8               // of one kind, served at a time
	totalStreams       = 64              // the same for all peers together
	perStrangerStreams = 2               // the same for a peer that is no member
	strangerStreams    = 32              // the same for all peers that are none
	strangerWait       = 2 * time.Second // for the whole request or hello of such a peer
)

// gate bounds how many streams of a kind are served at a time. Strangers never
// have more than a part of the places, and the first stream of a peer that is
// known is always served: there are as few of them as there are members.
type gate struct {
	mu        sync.Mutex
	in        map[ordering.DeviceKey]int
	total     int
	strangers int // of total
}

func newGate() *gate { return &gate{in: map[ordering.DeviceKey]int{}} }

// enter reports whether a stream of a peer, known or a stranger, may be served;
// release is then to be called.
func (g *gate) enter(d ordering.DeviceKey, known bool) (release func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.hasPlace(d, known) {
		return nil, false
	}
	stranger := 0
	if !known {
		stranger = 1
	}
	g.in[d]++
	g.total++
	g.strangers += stranger
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
		g.strangers -= stranger
		if g.in[d]--; g.in[d] == 0 {
			delete(g.in, d)
		}
	}, true
}

// hasPlace is called with mu held.
func (g *gate) hasPlace(d ordering.DeviceKey, known bool) bool {
	if !known {
		return g.in[d] < perStrangerStreams && g.strangers < strangerStreams && g.total < totalStreams
	}
	return g.in[d] == 0 || g.in[d] < perPeerStreams && g.total < totalStreams
}

// quota bounds how often each peer may do something in a window of time.
type quota struct {
	mu    sync.Mutex
	since time.Time
	used  map[ordering.DeviceKey]int
}

// take reports whether d may. Strangers are also bounded in number.
func (q *quota) take(d ordering.DeviceKey, known bool, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.since) > joinWindow {
		q.since, q.used = now, map[ordering.DeviceKey]int{}
	}
	if q.used[d] >= joinsInWindow || !known && q.used[d] == 0 && len(q.used) >= maxRemembered {
		return false
	}
	q.used[d]++
	return true
}

type gates struct {
	hello, join, fetch, finals, keys, nearby *gate
	joins, asked                             *quota // asked: by neighbours
}

func newGates() gates {
	return gates{newGate(), newGate(), newGate(), newGate(), newGate(), newGate(), &quota{}, &quota{}}
}

// call is one request on a stream of its own. Reads and writes fail after
// requestWait without progress.
type call struct {
	network.Stream
	r    *wire.Reader
	w    *wire.Writer
	stop func() bool
}

func newCall(ctx context.Context, s network.Stream) *call {
	return &call{s, wire.NewReader(s), wire.NewWriter(s), context.AfterFunc(ctx, func() { _ = s.Reset() })}
}

func (c *call) send(f wire.Frame) error {
	if err := c.SetWriteDeadline(time.Now().Add(requestWait)); err != nil {
		return err
	}
	return c.w.Write(f)
}

func (c *call) flush() error {
	if err := c.SetWriteDeadline(time.Now().Add(requestWait)); err != nil {
		return err
	}
	return c.w.Flush()
}

func (c *call) receive(wait time.Duration) (wire.Frame, error) {
	if err := c.SetReadDeadline(time.Now().Add(wait)); err != nil {
		return nil, err
	}
	f, err := c.r.Read()
	if errors.Is(err, io.EOF) {
		err = io.ErrUnexpectedEOF
	}
	return f, err
}

// end closes the stream, or breaks it off after an error.
func (c *call) end(err error) {
	c.stop()
	if err != nil {
		_ = c.Reset()
		return
	}
	if c.Close() != nil {
		_ = c.Reset()
	}
}

// ask opens a stream to a peer and sends a request on it.
func (n *Network) ask(ctx context.Context, id peer.ID, p protocol.ID, req wire.Frame) (*call, error) {
	s, err := n.dial(ctx, id, p)
	if err != nil {
		return nil, err
	}
	c := newCall(ctx, s)
	if err := errors.Join(c.send(req), c.flush(), s.CloseWrite()); err != nil {
		c.end(err)
		return nil, fmt.Errorf("p2p: ask %s: %w", id, err)
	}
	return c, nil
}

// exchange asks for one thing and returns the one frame that answers within wait.
func exchange[T any](ctx context.Context, n *Network, id peer.ID, p protocol.ID, req wire.Frame, wait time.Duration) (none T, err error) {
	c, err := n.ask(ctx, id, p, req)
	if err != nil {
		return none, err
	}
	defer func() { c.end(err) }()
	f, err := c.receive(wait)
	if err != nil {
		return none, fmt.Errorf("p2p: ask %s by %s: %w", id, p, err)
	}
	reply, ok := any(f).(*T)
	if !ok {
		err = fmt.Errorf("p2p: ask %s by %s: it answers with %T", id, p, f)
		return none, err
	}
	return *reply, nil
}

// request reads the request of an accepted stream, which is to be there in time.
func request[T wire.Frame](n *Network, d ordering.DeviceKey, c *call, wait time.Duration) (req T, err error) {
	f, err := c.receive(wait)
	if err != nil {
		n.refuse(d, err)
		return req, err
	}
	req, ok := f.(T)
	if !ok {
		err = fmt.Errorf("%w: %T is not asked here", wire.ErrMalformed, f)
		n.refuse(d, err)
	}
	return req, err
}

// Join asks members to admit this device, those of the addresses and, unless it
// is nil, the device to. They are dialled a few at a time and asked one by one,
// so that an invite is not used up by asking. Join returns the first admission
// and who gave it; where nobody admits, the refusal that says most and how many
// refused; where nobody answers, an error. It takes no longer than ctx: whoever
// was not asked by then does not count. req makes the request for an admitter.
func (n *Network) Join(ctx context.Context, addrs []string, to *ordering.DeviceKey, req func(admitter ordering.DeviceKey) wire.JoinRequest) (wire.JoinReply, ordering.DeviceKey, error) {
	ids, err := n.joinPeers(addrs, to)
	if err != nil {
		return wire.JoinReply{}, ordering.DeviceKey{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	answers := make(chan joinAnswer, len(ids))
	places := make(chan struct{}, maxJoinDials)
	asking := make(chan struct{}, 1)
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for _, id := range ids {
		wg.Go(func() {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-ctx.Done():
				answers <- joinAnswer{err: ctx.Err()}
				return
			}
			var a joinAnswer
			if a.from, a.err = deviceOf(id); a.err == nil {
				a.reply, a.err = n.joinAt(ctx, id, asking, req(a.from))
			}
			answers <- a
		})
	}
	var best joinAnswer
	var errs []error
	refused := 0
	for range ids {
		a := <-answers
		switch {
		case a.err != nil:
			errs = append(errs, a.err)
		case a.reply.Refused == "":
			return a.reply, a.from, nil
		default:
			if refused == 0 || tells(a.reply.Refused) > tells(best.reply.Refused) {
				best = a
			}
			refused++
		}
	}
	if refused == 0 {
		return wire.JoinReply{}, ordering.DeviceKey{}, fmt.Errorf("p2p: nobody to join at: %w", errors.Join(errs...))
	}
	n.log.Debug("nobody admits", "refused", best.reply.Refused, "answered", refused, "asked", len(ids))
	return wire.JoinReply{Refused: best.reply.Refused, Answered: refused}, best.from, nil
}

// joinAnswer is what came of asking one member.
type joinAnswer struct {
	reply wire.JoinReply
	from  ordering.DeviceKey
	err   error
}

// tells ranks refusals. Those of the invite or the room come first, then those of
// somebody who may not know the invite yet, and last those of nobody's room.
func tells(refused string) int {
	switch refused {
	case wire.RefusedRemoved:
		return 7
	case wire.RefusedExpired:
		return 6
	case wire.RefusedRevoked:
		return 5
	case wire.RefusedUsedUp:
		return 4
	case wire.RefusedFull:
		return 3
	case wire.RefusedUnknownInvite:
		return 2
	case wire.RefusedNotMember:
		return 0
	}
	return 1 // of a later version
}

// joinPeers remembers those of the addresses that can be read and returns whom
// they belong to.
func (n *Network) joinPeers(addrs []string, to *ordering.DeviceKey) ([]peer.ID, error) {
	infos, left, why := discovery.Readable(addrs)
	if left > 0 {
		n.log.Warn("addresses of members are left out", "count", left, "first", why)
	}
	discovery.Remember(n.host, infos)
	var ids []peer.ID
	if to != nil {
		id, err := idOf(*to)
		if err != nil {
			return nil, err
		}
		ids = append(ids, id)
	}
	for _, i := range infos {
		if i.ID != n.host.ID() && (to == nil || i.ID != ids[0]) {
			ids = append(ids, i.ID)
		}
	}
	if len(ids) == 0 {
		return nil, errors.New("p2p: there is nobody to join at")
	}
	return ids[:min(len(ids), maxJoinPeers)], nil
}

// joinAt dials one member and, when it is its turn, asks.
func (n *Network) joinAt(ctx context.Context, id peer.ID, asking chan struct{}, req wire.JoinRequest) (wire.JoinReply, error) {
	dialCtx, cancel := context.WithTimeout(ctx, joinDialWait)
	defer cancel()
	clearBackoff(n.host, id)
	if err := n.host.Connect(network.WithAllowLimitedConn(dialCtx, protocolJoin), peer.AddrInfo{ID: id}); err != nil {
		return wire.JoinReply{}, fmt.Errorf("connect to %s: %w", id, err)
	}
	select {
	case asking <- struct{}{}:
	case <-ctx.Done():
		return wire.JoinReply{}, ctx.Err()
	}
	// The turn is not passed on after an admission, which ends Join.
	reply, err := exchange[wire.JoinReply](ctx, n, id, protocolJoin, &req, admitWait)
	if err != nil || reply.Refused != "" {
		<-asking
	}
	return reply, err
}

func (n *Network) serveJoin(s network.Stream, d ordering.DeviceKey) {
	known, wait := n.knows(d), requestWait
	if !known {
		wait = n.idle
	}
	release, ok := n.gates.join.enter(d, known)
	if !ok || !n.gates.joins.take(d, known, time.Now()) {
		if ok {
			release()
		}
		_ = s.Reset()
		return
	}
	defer release()
	c := newCall(n.ctx, s)
	req, err := request[*wire.JoinRequest](n, d, c, wait)
	if err == nil {
		reply := n.cfg.Handler.AdmitJoin(n.ctx, d, *req)
		if reply.Refused == "" {
			n.welcome(d)
		}
		err = errors.Join(c.send(&reply), c.flush())
	}
	c.end(err)
}

// Fetch asks a peer for runs and hands each over in the order they come; they
// are decoded, not verified. It fails after requestWait without progress, when
// fetchWindow of waiting brings too little, when each fails, or when ctx ends.
// more says that the peer has more than was asked
// for.
func (n *Network) Fetch(ctx context.Context, from ordering.DeviceKey, req wire.FetchRequest, each func(ordering.Run) error) (more bool, err error) {
	id, err := idOf(from)
	if err != nil {
		return false, err
	}
	c, err := n.ask(ctx, id, protocolFetch, &req)
	if err != nil {
		return false, err
	}
	defer func() { c.end(err) }()
	rate := pace{window: n.slowest}
	for {
		f, err := c.next(ctx, &rate)
		if err != nil {
			n.refuse(from, err)
			return false, fmt.Errorf("p2p: fetch from %s: %w", id, err)
		}
		switch f := f.(type) {
		case *wire.FetchRun:
			rate.came(f.Run.Size())
			if rate.left() == 0 {
				return false, fmt.Errorf("p2p: fetch from %s: %w", id, errSlow)
			}
			if err := each(f.Run); err != nil {
				return false, err
			}
		case *wire.FetchEnd:
			return f.More, nil
		case *wire.Hello, *wire.Heartbeat, *wire.Leaving, *wire.Rooms, *wire.Room, *wire.PeerRecords, *wire.JoinRequest,
			*wire.JoinReply, *wire.FetchRequest, *wire.KeysRequest, *wire.KeysReply, *wire.FinalsRequest, *wire.FinalsPage, *wire.NearbyRequest, *wire.NearbyReply:
			err = fmt.Errorf("%w: %T answers a fetch", wire.ErrMalformed, f)
			n.refuse(from, err)
			return false, fmt.Errorf("p2p: fetch from %s: %w", id, err)
		}
	}
}

var errSlow = errors.New("p2p: the peer answers too slowly")

// next receives the next frame of an answer that has many.
func (c *call) next(ctx context.Context, rate *pace) (wire.Frame, error) {
	began := time.Now()
	f, err := c.receive(min(requestWait, rate.left()))
	rate.wait(time.Since(began))
	switch {
	case err == nil:
		return f, nil
	case ctx.Err() != nil:
		return nil, ctx.Err()
	case rate.left() == 0:
		return nil, fmt.Errorf("%w: %w", errSlow, err)
	}
	return nil, err
}

// pace judges whether an answer of many runs or pages comes fast enough. A window
// of waiting begins anew whenever enough has come; the time that the consumer
// takes is not the peer's.
type pace struct {
	window, waited time.Duration
	runs, bytes    int // since the window began
}

// left returns how much waiting is left; with 0, the answer is too slow.
func (p *pace) left() time.Duration { return max(0, p.window-p.waited) }

func (p *pace) wait(d time.Duration) { p.waited += d }

func (p *pace) came(bytes int) {
	p.runs++
	p.bytes += bytes
	if p.left() > 0 && (p.runs >= fetchLeastRuns || p.bytes >= fetchLeastBytes) {
		*p = pace{window: p.window}
	}
}

// admits reports whether a peer's request for runs or keys is looked at; release
// is then to be called. Otherwise the stream is gone.
func (n *Network) admits(g *gate, s network.Stream, d ordering.DeviceKey) (release func(), ok bool) {
	member := n.mayAsk(d)
	if member {
		release, ok = g.enter(d, true)
	}
	if !ok {
		_ = s.Reset()
	}
	if !member {
		n.refused(d, ordering.NotMember, fmt.Errorf("p2p: %s is asked by who is no member", s.Protocol()))
	}
	return release, ok
}

func (n *Network) serveFetch(s network.Stream, d ordering.DeviceKey) {
	release, ok := n.admits(n.gates.fetch, s, d)
	if !ok {
		return
	}
	defer release()
	c := newCall(n.ctx, s)
	c.end(n.answerFetch(c, d))
}

func (n *Network) answerFetch(c *call, d ordering.DeviceKey) error {
	req, err := request[*wire.FetchRequest](n, d, c, requestWait)
	if err != nil {
		return err
	}
	more, err := n.cfg.Handler.ServeFetch(n.ctx, d, *req, func(r ordering.Run) error { return c.send(&wire.FetchRun{Run: r}) })
	if err != nil {
		return err
	}
	return errors.Join(c.send(&wire.FetchEnd{More: more}), c.flush())
}

// Finals asks a peer for a room's final order after an index and hands it over
// in order and without a gap: first is the index of the first of part. It fails
// as Fetch does, and for an answer with a gap or of more than maxFinalsAnswer; what
// was handed over until then stands.
func (n *Network) Finals(ctx context.Context, from ordering.DeviceKey, req wire.FinalsRequest, each func(first uint64, part []ordering.Listed) error) (err error) {
	id, err := idOf(from)
	if err != nil {
		return err
	}
	c, err := n.ask(ctx, id, protocolFinals, &req)
	if err != nil {
		return err
	}
	defer func() { c.end(err) }()
	rate := pace{window: n.slowest}
	for after := req.After; ; {
		f, err := c.next(ctx, &rate)
		var page *wire.FinalsPage
		if err == nil {
			page, err = follows(f, after)
		}
		if err != nil {
			n.refuse(from, err)
			return fmt.Errorf("p2p: ask %s for finals: %w", id, err)
		}
		if after-req.After+uint64(len(page.List)) > maxFinalsAnswer {
			return fmt.Errorf("p2p: ask %s for finals: more than %d places", id, maxFinalsAnswer)
		}
		if len(page.List) > 0 {
			if err := each(page.First, page.List); err != nil {
				return err
			}
		}
		if !page.More {
			return nil
		}
		if rate.came(len(page.List) * finalBytes); rate.left() == 0 {
			return fmt.Errorf("p2p: ask %s for finals: %w", id, errSlow)
		}
		after += uint64(len(page.List))
	}
}

// finalBytes is what a place takes in a page, at least.
const finalBytes = ordering.OriginSize + 8

// follows returns a frame as the page that begins after an index.
func follows(f wire.Frame, after uint64) (*wire.FinalsPage, error) {
	page, ok := f.(*wire.FinalsPage)
	if !ok {
		return nil, fmt.Errorf("%w: %T answers for finals", wire.ErrMalformed, f)
	}
	if page.First != after+1 {
		return nil, fmt.Errorf("%w: a page of finals begins with %d, not %d", wire.ErrMalformed, page.First, after+1)
	}
	return page, nil
}

func (n *Network) serveFinals(s network.Stream, d ordering.DeviceKey) {
	release, ok := n.admits(n.gates.finals, s, d)
	if !ok {
		return
	}
	defer release()
	c := newCall(n.ctx, s)
	c.end(n.answerFinals(c, d))
}

func (n *Network) answerFinals(c *call, d ordering.DeviceKey) error {
	req, err := request[*wire.FinalsRequest](n, d, c, requestWait)
	if err != nil {
		return err
	}
	next := req.After + 1
	err = n.cfg.Handler.ServeFinals(n.ctx, d, *req, func(first uint64, part []ordering.Listed) error {
		if first != next {
			return fmt.Errorf("p2p: serve finals: %d is next, not %d", next, first)
		}
		next += uint64(len(part))
		for page := range slices.Chunk(part, wire.MaxFinals) {
			if err := c.send(&wire.FinalsPage{First: first, List: page, More: true}); err != nil {
				return err
			}
			first += uint64(len(page))
		}
		return nil
	})
	if err != nil {
		return err
	}
	return errors.Join(c.send(&wire.FinalsPage{First: next}), c.flush())
}

// Keys asks a member for room keys.
func (n *Network) Keys(ctx context.Context, from ordering.DeviceKey, req wire.KeysRequest) (wire.KeysReply, error) {
	id, err := idOf(from)
	if err != nil {
		return wire.KeysReply{}, err
	}
	return exchange[wire.KeysReply](ctx, n, id, protocolKeys, &req, requestWait)
}

func (n *Network) serveKeys(s network.Stream, d ordering.DeviceKey) {
	release, ok := n.admits(n.gates.keys, s, d)
	if !ok {
		return
	}
	defer release()
	c := newCall(n.ctx, s)
	req, err := request[*wire.KeysRequest](n, d, c, requestWait)
	if err == nil {
		reply := n.cfg.Handler.ServeKeys(n.ctx, d, *req)
		err = errors.Join(c.send(&reply), c.flush())
	}
	c.end(err)
}
