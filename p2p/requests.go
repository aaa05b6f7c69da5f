package p2p

import (
	"context"
	"errors"
	"fmt"
	"io"
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

	perPeerStreams = 8  // of one kind, served at a time
	totalStreams   = 64 // the same for all peers together
)

// gate bounds how many streams of a kind are served at a time.
type gate struct {
	mu    sync.Mutex
	in    map[ordering.DeviceKey]int
	total int
}

func newGate() *gate { return &gate{in: map[ordering.DeviceKey]int{}} }

// enter reports whether a peer's stream may be served; release is then to be
// called.
func (g *gate) enter(d ordering.DeviceKey) (release func(), ok bool) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.in[d] >= perPeerStreams || g.total >= totalStreams {
		return nil, false
	}
	g.in[d]++
	g.total++
	return func() {
		g.mu.Lock()
		defer g.mu.Unlock()
		g.total--
		if g.in[d]--; g.in[d] == 0 {
			delete(g.in, d)
		}
	}, true
}

// quota bounds how often each peer may do something in a window of time.
type quota struct {
	mu    sync.Mutex
	since time.Time
	used  map[ordering.DeviceKey]int
}

func (q *quota) take(d ordering.DeviceKey, now time.Time) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	if now.Sub(q.since) > joinWindow {
		q.since, q.used = now, map[ordering.DeviceKey]int{}
	}
	if q.used[d] >= joinsInWindow || len(q.used) >= maxRemembered {
		return false
	}
	q.used[d]++
	return true
}

type gates struct {
	hello, join, fetch, keys *gate
	joins                    *quota
}

func newGates() gates {
	return gates{newGate(), newGate(), newGate(), newGate(), &quota{}}
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

// request reads the request of an accepted stream.
func request[T wire.Frame](n *Network, d ordering.DeviceKey, c *call) (req T, err error) {
	f, err := c.receive(requestWait)
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
// so that an invite is not used up by asking. Join returns the first answer, a
// refusal included, and who gave it. req makes the request for an admitter.
func (n *Network) Join(ctx context.Context, addrs []string, to *ordering.DeviceKey, req func(admitter ordering.DeviceKey) wire.JoinRequest) (wire.JoinReply, ordering.DeviceKey, error) {
	ids, err := n.joinPeers(addrs, to)
	if err != nil {
		return wire.JoinReply{}, ordering.DeviceKey{}, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	type answer struct {
		reply wire.JoinReply
		from  ordering.DeviceKey
		err   error
	}
	answers := make(chan answer, len(ids))
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
				answers <- answer{err: ctx.Err()}
				return
			}
			var a answer
			if a.from, a.err = deviceOf(id); a.err == nil {
				a.reply, a.err = n.joinAt(ctx, id, asking, req(a.from))
			}
			answers <- a
		})
	}
	var errs []error
	for range ids {
		a := <-answers
		if a.err == nil {
			return a.reply, a.from, nil
		}
		errs = append(errs, a.err)
	}
	return wire.JoinReply{}, ordering.DeviceKey{}, fmt.Errorf("p2p: nobody to join at: %w", errors.Join(errs...))
}

// joinPeers remembers the addresses and returns whom they belong to.
func (n *Network) joinPeers(addrs []string, to *ordering.DeviceKey) ([]peer.ID, error) {
	infos, err := discovery.Infos(addrs)
	if err != nil {
		return nil, fmt.Errorf("p2p: address of a member: %w", err)
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
	// The turn is passed on only after a failure: an answer ends Join.
	reply, err := n.askJoin(ctx, id, req)
	if err != nil {
		<-asking
	}
	return reply, err
}

func (n *Network) askJoin(ctx context.Context, id peer.ID, req wire.JoinRequest) (_ wire.JoinReply, err error) {
	c, err := n.ask(ctx, id, protocolJoin, &req)
	if err != nil {
		return wire.JoinReply{}, err
	}
	defer func() { c.end(err) }()
	f, err := c.receive(admitWait)
	if err != nil {
		return wire.JoinReply{}, fmt.Errorf("p2p: join at %s: %w", id, err)
	}
	reply, ok := f.(*wire.JoinReply)
	if !ok {
		err = fmt.Errorf("p2p: join at %s: it answers with %T", id, f)
		return wire.JoinReply{}, err
	}
	return *reply, nil
}

func (n *Network) serveJoin(s network.Stream, d ordering.DeviceKey) {
	release, ok := n.gates.join.enter(d)
	if !ok || !n.gates.joins.take(d, time.Now()) {
		if ok {
			release()
		}
		_ = s.Reset()
		return
	}
	defer release()
	c := newCall(n.ctx, s)
	req, err := request[*wire.JoinRequest](n, d, c)
	if err == nil {
		reply := n.cfg.Handler.AdmitJoin(n.ctx, d, *req)
		err = errors.Join(c.send(&reply), c.flush())
	}
	c.end(err)
}

// Fetch asks a peer for runs and hands each over in the order they come; they
// are decoded, not verified. It fails after requestWait without progress, when
// each fails, or when ctx ends. more says that the peer has more than was asked
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
	for {
		f, err := c.receive(requestWait)
		if err != nil {
			if ctx.Err() != nil {
				err = ctx.Err()
			}
			n.refuse(from, err)
			return false, fmt.Errorf("p2p: fetch from %s: %w", id, err)
		}
		switch f := f.(type) {
		case *wire.FetchRun:
			if err := each(f.Run); err != nil {
				return false, err
			}
		case *wire.FetchEnd:
			return f.More, nil
		case *wire.Hello, *wire.Heartbeat, *wire.Leaving, *wire.Rooms, *wire.Room, *wire.PeerRecords, *wire.JoinRequest,
			*wire.JoinReply, *wire.FetchRequest, *wire.KeysRequest, *wire.KeysReply:
			n.cfg.Handler.Refused(from, ordering.Malformed)
			return false, fmt.Errorf("p2p: fetch from %s: it answers with %T", id, f)
		}
	}
}

func (n *Network) serveFetch(s network.Stream, d ordering.DeviceKey) {
	release, ok := n.gates.fetch.enter(d)
	if !ok {
		_ = s.Reset()
		return
	}
	defer release()
	c := newCall(n.ctx, s)
	c.end(n.answerFetch(c, d))
}

func (n *Network) answerFetch(c *call, d ordering.DeviceKey) error {
	req, err := request[*wire.FetchRequest](n, d, c)
	if err != nil {
		return err
	}
	more, err := n.cfg.Handler.ServeFetch(n.ctx, d, *req, func(r ordering.Run) error { return c.send(&wire.FetchRun{Run: r}) })
	if err != nil {
		return err
	}
	return errors.Join(c.send(&wire.FetchEnd{More: more}), c.flush())
}

// Keys asks a member for room keys.
func (n *Network) Keys(ctx context.Context, from ordering.DeviceKey, req wire.KeysRequest) (_ wire.KeysReply, err error) {
	id, err := idOf(from)
	if err != nil {
		return wire.KeysReply{}, err
	}
	c, err := n.ask(ctx, id, protocolKeys, &req)
	if err != nil {
		return wire.KeysReply{}, err
	}
	defer func() { c.end(err) }()
	f, err := c.receive(requestWait)
	if err != nil {
		return wire.KeysReply{}, fmt.Errorf("p2p: ask %s for keys: %w", id, err)
	}
	reply, ok := f.(*wire.KeysReply)
	if !ok {
		err = fmt.Errorf("p2p: ask %s for keys: it answers with %T", id, f)
		return wire.KeysReply{}, err
	}
	return *reply, nil
}

func (n *Network) serveKeys(s network.Stream, d ordering.DeviceKey) {
	release, ok := n.gates.keys.enter(d)
	if !ok {
		_ = s.Reset()
		return
	}
	defer release()
	c := newCall(n.ctx, s)
	req, err := request[*wire.KeysRequest](n, d, c)
	if err == nil {
		reply := n.cfg.Handler.ServeKeys(n.ctx, d, *req)
		err = errors.Join(c.send(&reply), c.flush())
	}
	c.end(err)
}
