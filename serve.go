package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/sync/errgroup"

	"tertulia/api"
	"tertulia/chat"
	"tertulia/client/terminal"
	"tertulia/node"
)

// Together with the end of the API, at most a second, a node stops within 5 s.
const stopWait = 4 * time.Second // for the node to say goodbye and close its storage

// server is a running node: the node itself, its API, its metrics, and either
// its window or what it tells on stdout.
type server struct {
	program
	flags nodeFlags
	dir   string
	link  string // that the window offers to join by, or ""
	guard guard
	node  *node.Node
	log   *slog.Logger
}

// run runs everything until ctx ends, the window is closed or the node fails.
// The API ends first, while the node still holds its directory, so that the
// next node never finds its own socket removed.
func (s *server) run(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	nodeCtx, stopNode := context.WithCancel(context.WithoutCancel(ctx))
	defer stopNode()
	events := s.node.Events(ctx) // from the first on
	nodeDone := make(chan error, 1)
	go func() {
		nodeDone <- s.node.Run(nodeCtx)
		stop()
	}()
	var err error
	select {
	case <-s.node.Ready(): // nobody asks a node that is still being set up
		err = s.serve(ctx, stop, events)
	case <-ctx.Done():
	}
	stopNode()
	limit := time.NewTimer(stopWait)
	defer limit.Stop()
	select {
	case nodeErr := <-nodeDone:
		if nodeErr != nil {
			return nodeErr
		}
	case <-limit.C:
		return chat.Errorf(chat.CodeInternal, "The node did not stop within %s.", stopWait)
	}
	return err
}

// serve runs all but the node.
func (s *server) serve(ctx context.Context, stop context.CancelFunc, events <-chan chat.Event) error {
	socket, err := listenAPI(s.dir, s.flags.api, s.flags.tokenFile)
	if err != nil {
		return err
	}
	defer socket.remove()
	g, ctx := errgroup.WithContext(ctx)
	handler := s.guard.wrap(api.NewHandler(s.node, s.log.With("pkg", "api")))
	g.Go(func() error { return api.Serve(ctx, socket.listener, handler) })
	if s.flags.metrics != "" {
		l, err := net.Listen("tcp", s.flags.metrics)
		if err != nil {
			stop()
			err = errors.Join(err, g.Wait())
			return &chat.Error{Code: chat.CodeUnreachable, Message: fmt.Sprintf("Metrics cannot be served on %s.", s.flags.metrics), Hint: "Name another address with --metrics.", Err: err}
		}
		g.Go(func() error { return api.Serve(ctx, l, metricsHandler(s.node)) })
	}
	if s.flags.headless {
		g.Go(func() error { return s.announce(ctx, socket.address, events) })
		<-ctx.Done()
	} else {
		err = openWindow(ctx, s.node, s.dir, s.link)
	}
	stop()
	if groupErr := g.Wait(); groupErr != nil {
		return groupErr
	}
	return err
}

// announce tells on stdout that the node is ready, and what happens then.
func (s *server) announce(ctx context.Context, address string, events <-chan chat.Event) error {
	ready := readyLine{
		Event:  "ready",
		NodeID: s.node.NodeID(),
		PeerID: s.node.PeerID(),
		Addrs:  list(s.node.Addrs()),
		API:    address,
	}
	if s.flags.bootstrap {
		invite, err := s.node.Invite(ctx, chat.InviteOptions{Room: s.node.Lobby()})
		if err != nil {
			s.log.Warn("no invite to the lobby", "err", err)
		}
		ready.Invite = invite
	}
	if s.flags.json {
		if err := terminal.WriteJSON(s.out, ready); err != nil {
			return err
		}
	} else {
		fmt.Fprintf(s.out, "Node %s is up.\n", terminal.Escape(ready.NodeID))
		if ready.Invite != "" {
			fmt.Fprintf(s.out, "Invite others: %s\n", ready.Invite)
		}
		fmt.Fprintf(s.out, "Talk here: tertulia chat --data %s\n", terminal.Escape(s.dir))
	}
	for event := range events {
		var err error
		if s.flags.json {
			err = terminal.WriteJSON(s.out, eventLine(event))
		} else {
			_, err = fmt.Fprintln(s.out, terminal.Escape(eventWords(event)))
		}
		if err != nil {
			return err
		}
	}
	return nil
}

type readyLine struct {
	Event  string   `json:"event"`
	NodeID string   `json:"node_id"`
	PeerID string   `json:"peer_id"`
	Addrs  []string `json:"addrs"`
	Invite string   `json:"invite,omitempty"`
	API    string   `json:"api"`
}

// eventLine returns e as a JSON value: each type has its own fields.
func eventLine(e chat.Event) any {
	switch e.Type {
	case chat.EventPeer:
		return struct {
			Event  string `json:"event"`
			NodeID string `json:"node_id"`
			State  string `json:"state"`
		}{"peer", e.NodeID, e.State}
	case chat.EventRoom:
		return struct {
			Event  string `json:"event"`
			Room   string `json:"room"`
			RoomID string `json:"room_id"`
			State  string `json:"state"`
			Reason string `json:"reason"`
		}{"room", e.Room, e.RoomID, e.State, e.Reason}
	case chat.EventLeader:
		return struct {
			Event  string `json:"event"`
			Room   string `json:"room"`
			RoomID string `json:"room_id"`
			Term   uint64 `json:"term"`
			Leader string `json:"leader"`
		}{"leader", e.Room, e.RoomID, e.Term, e.Leader}
	case chat.EventEpoch:
		return struct {
			Event    string   `json:"event"`
			Room     string   `json:"room"`
			RoomID   string   `json:"room_id"`
			Epoch    uint64   `json:"epoch"`
			Ordering string   `json:"ordering"`
			View     []string `json:"view"`
		}{"epoch", e.Room, e.RoomID, e.Epoch, string(e.Order), list(e.View)}
	}
	return struct {
		Event string `json:"event"`
	}{string(e.Type)}
}

func eventWords(e chat.Event) string {
	switch e.Type {
	case chat.EventPeer:
		return fmt.Sprintf("%s is %s.", e.NodeID, e.State)
	case chat.EventRoom:
		if e.Reason != "" {
			return fmt.Sprintf("Room %s: %s, %s", e.Room, e.State, e.Reason)
		}
		return fmt.Sprintf("Room %s: %s.", e.Room, e.State)
	case chat.EventLeader:
		if e.Leader == "" {
			return fmt.Sprintf("Room %s: nobody leads, term %d.", e.Room, e.Term)
		}
		return fmt.Sprintf("Room %s: %s leads, term %d.", e.Room, e.Leader, e.Term)
	case chat.EventEpoch:
		return fmt.Sprintf("Room %s: epoch %d, %s, %d members.", e.Room, e.Epoch, e.Order, len(e.View))
	}
	return string(e.Type)
}

// metricsHandler serves the metrics of the process and of n at /metrics.
func metricsHandler(n statusTeller) http.Handler {
	own := prometheus.NewRegistry()
	own.MustRegister(nodeCollector{n})
	mux := http.NewServeMux()
	mux.Handle("/metrics", promhttp.HandlerFor(prometheus.Gatherers{prometheus.DefaultGatherer, own}, promhttp.HandlerOpts{}))
	return mux
}

// statusTeller is what the metrics need of a node.
type statusTeller interface {
	Status(ctx context.Context) (chat.Status, error)
}

// collectWait is how long a scrape waits for the node.
const collectWait = 2 * time.Second

// nodeCollector turns the node's status into metrics.
type nodeCollector struct{ node statusTeller }

var (
	refusedDesc  = prometheus.NewDesc("tertulia_refused_total", "Entries refused, by reason.", []string{"reason"}, nil)
	messagesDesc = prometheus.NewDesc("tertulia_messages_total", "Messages held in all rooms.", nil, nil)
	peersDesc    = prometheus.NewDesc("tertulia_peers", "Peers known, by state.", []string{"state"}, nil)
)

func (nodeCollector) Describe(descs chan<- *prometheus.Desc) {
	descs <- refusedDesc
	descs <- messagesDesc
	descs <- peersDesc
}

func (c nodeCollector) Collect(metrics chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), collectWait)
	defer cancel()
	status, err := c.node.Status(ctx)
	if err != nil {
		metrics <- prometheus.NewInvalidMetric(messagesDesc, err)
		return
	}
	for reason, count := range status.Refused {
		metrics <- prometheus.MustNewConstMetric(refusedDesc, prometheus.CounterValue, float64(count), reason)
	}
	var messages uint64
	for _, r := range status.Rooms {
		messages += r.FinalIndex + r.Tentative
	}
	metrics <- prometheus.MustNewConstMetric(messagesDesc, prometheus.CounterValue, float64(messages))
	peers := map[chat.PeerState]int{chat.PeerJoined: 0, chat.PeerConnected: 0, chat.PeerSuspected: 0, chat.PeerLeft: 0}
	for _, p := range status.Peers {
		peers[p.State]++
	}
	for state, count := range peers {
		metrics <- prometheus.MustNewConstMetric(peersDesc, prometheus.GaugeValue, float64(count), string(state))
	}
}
