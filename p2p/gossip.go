package p2p

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"maps"
	"sync"

	pubsub "github.com/libp2p/go-libp2p-pubsub"
	pb "github.com/libp2p/go-libp2p-pubsub/pb"
	"github.com/libp2p/go-libp2p/core/peer"

	"tertulia/ordering"
)

// Limits of GossipSub. Its own queues of 32 lose messages without a word.
const (
	maxTopics          = 4096
	gossipInQueue      = 4096 // messages per topic that wait for the Handler
	gossipOutQueue     = 1024 // frames per peer
	gossipPublishQueue = 1024 // runs that wait to be published
	maxSubscriptions   = 4096 // in one frame of a peer
)

// gossip is the hint channel of large rooms: it may lose, repeat and reorder.
type gossip struct {
	n       *Network
	ps      *pubsub.PubSub
	publish chan published

	setting sync.Mutex // one change of topics at a time

	mu     sync.Mutex
	topics map[ordering.RoomID]*topic
	allow  map[string]bool
}

type topic struct {
	*pubsub.Topic
	sub *pubsub.Subscription
}

type published struct {
	room ordering.RoomID
	run  ordering.Run
}

func newGossip(n *Network) (*gossip, error) {
	g := &gossip{
		n: n, publish: make(chan published, gossipPublishQueue),
		topics: map[ordering.RoomID]*topic{}, allow: map[string]bool{},
	}
	var err error
	g.ps, err = pubsub.NewGossipSub(n.ctx, n.host,
		// Runs carry their author's signature; a second one adds nothing.
		pubsub.WithMessageSignaturePolicy(pubsub.StrictNoSign),
		pubsub.WithNoAuthor(),
		pubsub.WithMessageIdFn(func(m *pb.Message) string {
			h := sha256.Sum256(m.GetData())
			return string(h[:])
		}),
		pubsub.WithSubscriptionFilter(g),
		pubsub.WithPeerOutboundQueueSize(gossipOutQueue),
		pubsub.WithValidateQueueSize(gossipOutQueue),
		pubsub.WithMaxMessageSize(ordering.MaxRunBytes+64<<10),
		pubsub.WithDefaultValidator(pubsub.ValidatorEx(g.validate), pubsub.WithValidatorInline(true)),
	)
	if err != nil {
		return nil, fmt.Errorf("p2p: start gossip: %w", err)
	}
	n.spawn(g.publishQueued)
	return g, nil
}

// topicOf hides a room's id from those who do not know it.
func topicOf(room ordering.RoomID) string {
	h := sha256.Sum256(append([]byte("tertulia gossip"), room[:]...))
	return hex.EncodeToString(h[:])
}

// CanSubscribe implements pubsub.SubscriptionFilter: our own rooms, no others.
func (g *gossip) CanSubscribe(topic string) bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.allow[topic]
}

// FilterIncomingSubscriptions implements pubsub.SubscriptionFilter.
func (g *gossip) FilterIncomingSubscriptions(_ peer.ID, subs []*pb.RPC_SubOpts) ([]*pb.RPC_SubOpts, error) {
	if len(subs) > maxSubscriptions {
		return nil, pubsub.ErrTooManySubscriptions
	}
	return pubsub.FilterSubscriptions(subs, g.CanSubscribe), nil
}

// validate lets through, and keeps decoded, the runs that are of the topic's room
// and signed by their author, so that nobody passes on what is not. pubsub asks
// once for the same bytes, however many peers send them.
func (g *gossip) validate(_ context.Context, from peer.ID, m *pubsub.Message) pubsub.ValidationResult {
	run, err := ordering.DecodeRun(m.GetData())
	reason := ordering.Malformed
	own := from == g.n.host.ID()
	if err == nil && !own {
		reason, err = judge(run, m.GetTopic())
	}
	if err == nil {
		m.ValidatorData = run
		return pubsub.ValidationAccept
	}
	if d, notKey := deviceOf(from); notKey == nil && !own {
		g.n.refused(d, reason, err)
	}
	return pubsub.ValidationReject
}

// judge says why a run is not to be passed on.
func judge(run ordering.Run, topic string) (ordering.Reason, error) {
	_, err := ordering.VerifyRun(run)
	if err == nil && topicOf(run.First().Room) != topic {
		err = ordering.Refuse(ordering.WrongRoom, run.First().ID())
	}
	var refusal *ordering.Refusal
	if errors.As(err, &refusal) {
		return refusal.Reason, err
	}
	return ordering.BadSignature, err
}

// set joins and leaves topics so that they are those of rooms. pubsub calls
// back into the filter, so mu is never held while pubsub is called.
func (g *gossip) set(rooms []ordering.RoomID) error {
	g.setting.Lock()
	defer g.setting.Unlock()
	want := map[ordering.RoomID]bool{}
	for _, r := range rooms[:min(len(rooms), maxTopics)] {
		want[r] = true
	}
	var errs []error
	for r, t := range g.joined() {
		if want[r] {
			delete(want, r)
			continue
		}
		g.mu.Lock()
		delete(g.topics, r)
		delete(g.allow, topicOf(r))
		g.mu.Unlock()
		t.sub.Cancel()
		errs = append(errs, t.Close())
	}
	for r := range want {
		errs = append(errs, g.join(r))
	}
	return errors.Join(errs...)
}

func (g *gossip) joined() map[ordering.RoomID]*topic {
	g.mu.Lock()
	defer g.mu.Unlock()
	return maps.Clone(g.topics)
}

func (g *gossip) join(room ordering.RoomID) error {
	name := topicOf(room)
	g.mu.Lock()
	g.allow[name] = true
	g.mu.Unlock()
	t, err := g.ps.Join(name)
	if err != nil {
		return fmt.Errorf("p2p: join a topic: %w", err)
	}
	sub, err := t.Subscribe(pubsub.WithBufferSize(gossipInQueue))
	if err != nil {
		return fmt.Errorf("p2p: subscribe to a topic: %w", errors.Join(err, t.Close()))
	}
	g.mu.Lock()
	g.topics[room] = &topic{t, sub}
	g.mu.Unlock()
	g.n.spawn(func() { g.receive(room, sub) })
	return nil
}

func (g *gossip) receive(room ordering.RoomID, sub *pubsub.Subscription) {
	for {
		m, err := sub.Next(g.n.ctx)
		if err != nil {
			return // cancelled, by Topics or at the end of Run
		}
		from, err := deviceOf(m.ReceivedFrom)
		if err != nil || from == g.n.self {
			continue
		}
		g.n.cfg.Handler.Gossip(from, room, m.ValidatorData.(ordering.Run))
	}
}

func (g *gossip) publishQueued() {
	for {
		select {
		case <-g.n.ctx.Done():
			return
		case p := <-g.publish:
			g.mu.Lock()
			t := g.topics[p.room]
			g.mu.Unlock()
			if t == nil {
				continue
			}
			if err := t.Publish(g.n.ctx, p.run.Bytes()); err != nil {
				g.n.droppedGossip.Add(1)
			}
		}
	}
}

// Topics says in which rooms this node gossips. It replaces what was said before.
func (n *Network) Topics(rooms []ordering.RoomID) {
	if err := n.gossip.set(rooms); err != nil {
		n.log.Warn("gossip topics do not change", "err", err)
	}
}

// Publish gossips a run in a room of Topics. It never blocks; when too much
// waits, the run is dropped and counted.
func (n *Network) Publish(room ordering.RoomID, run ordering.Run) {
	select {
	case n.gossip.publish <- published{room, run}:
	default:
		n.droppedGossip.Add(1)
	}
}
