package main

import (
	"context"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"tertulia/chat"
	"tertulia/client/terminal"
)

// How often `status --watch` prints.
const (
	watchPause = 500 * time.Millisecond // at least, between two prints
	watchIdle  = 5 * time.Second        // at most, when nothing changes
)

func (p program) statusCommand() *cobra.Command {
	var flags clientFlags
	var watch bool
	cmd := &cobra.Command{Use: "status", Short: "Show peers, rooms, order and what is waited for", Args: cobra.NoArgs}
	flags.add(cmd)
	cmd.Flags().BoolVar(&watch, "watch", false, "print again after every change")
	cmd.RunE = p.action(func(ctx context.Context, _ []string) error {
		c, err := flags.open()
		if err != nil {
			return err
		}
		defer c.Close()
		changes := make(<-chan struct{})
		if watch {
			changes = c.Changes(ctx)
		}
		for {
			status, err := c.Status(ctx)
			if ctx.Err() != nil {
				return nil
			}
			if err != nil {
				return err
			}
			if flags.json {
				err = terminal.WriteJSON(p.out, newStatusLine(status))
			} else {
				words := statusWords(status)
				if watch && terminalWidth(p.out) > 0 {
					words = "\x1b[H\x1b[2J" + words
				}
				_, err = io.WriteString(p.out, words)
			}
			if err != nil || !watch {
				return err
			}
			if !waitFor(ctx, nil, watchPause) || !waitFor(ctx, changes, watchIdle) {
				return nil
			}
		}
	})
	return cmd
}

// waitFor waits for a tick or for d; it returns false when ctx ended.
func waitFor(ctx context.Context, tick <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-tick:
	case <-timer.C:
	case <-ctx.Done():
	}
	return ctx.Err() == nil
}

type statusLine struct {
	NodeID  string            `json:"node_id"`
	PeerID  string            `json:"peer_id"`
	Version string            `json:"version"`
	Uptime  float64           `json:"uptime_s"`
	Addrs   []string          `json:"addrs"`
	Disk    string            `json:"disk"`
	Refused map[string]uint64 `json:"refused"`
	Peers   []statusPeer      `json:"peers"`
	Rooms   []statusRoom      `json:"rooms"`
}

type statusPeer struct {
	NodeID  string  `json:"node_id"`
	PeerID  string  `json:"peer_id"`
	State   string  `json:"state"`
	RTT     float64 `json:"rtt_ms"`
	Addr    string  `json:"addr"`
	Relayed bool    `json:"relayed"`
}

type statusRoom struct {
	Name       string            `json:"name"`
	ID         string            `json:"id"`
	Ordering   string            `json:"ordering"`
	State      string            `json:"state"`
	Epoch      uint64            `json:"epoch"`
	View       []string          `json:"view"`
	Leader     string            `json:"leader"`
	Term       uint64            `json:"term"`
	Voters     []string          `json:"voters"`
	FinalIndex uint64            `json:"final_index"`
	OrderHash  string            `json:"order_hash"`
	Tentative  uint64            `json:"tentative"`
	TailHash   string            `json:"tail_hash"`
	Parked     int               `json:"parked"`
	Diverged   uint64            `json:"diverged"`
	Forked     []string          `json:"forked"`
	WaitingFor []string          `json:"waiting_for"`
	Clocks     map[string]uint64 `json:"clocks"`
	Replicas   []statusReplica   `json:"replicas"`
	Links      []statusLink      `json:"links"`
}

type statusReplica struct {
	NodeID     string `json:"node_id"`
	FinalIndex uint64 `json:"final_index"`
	OrderHash  string `json:"order_hash"`
	Diverged   bool   `json:"diverged"`
}

// statusLink is a connection between two members.
type statusLink struct {
	A       string  `json:"a"`
	B       string  `json:"b"`
	RTT     float64 `json:"rtt_ms"` // 0: not measured here
	Relayed bool    `json:"relayed"`
}

// newStatusLine writes empty lists as [] and {}, never as null.
func newStatusLine(s chat.Status) statusLine {
	line := statusLine{
		NodeID:  s.NodeID,
		PeerID:  s.PeerID,
		Version: s.Version,
		Uptime:  s.Uptime.Seconds(),
		Addrs:   list(s.Addrs),
		Disk:    s.Disk,
		Refused: dict(s.Refused),
		Peers:   []statusPeer{},
		Rooms:   []statusRoom{},
	}
	for _, p := range s.Peers {
		line.Peers = append(line.Peers, statusPeer{p.Name, p.PeerID, string(p.State), float64(p.RTT) / float64(time.Millisecond), p.Addr, p.Relayed})
	}
	for _, r := range s.Rooms {
		replicas := []statusReplica{}
		for _, o := range r.Replicas {
			replicas = append(replicas, statusReplica{o.NodeID, o.FinalIndex, o.OrderHash, o.Diverged})
		}
		links := []statusLink{}
		for _, l := range r.Links {
			links = append(links, statusLink{l.A, l.B, float64(l.RTT) / float64(time.Millisecond), l.Relayed})
		}
		line.Rooms = append(line.Rooms, statusRoom{
			Name:       r.Name,
			ID:         r.ID,
			Ordering:   string(r.Order),
			State:      string(r.State),
			Epoch:      r.Epoch,
			View:       list(r.View),
			Leader:     r.Leader,
			Term:       r.Term,
			Voters:     list(r.Voters),
			FinalIndex: r.FinalIndex,
			OrderHash:  r.OrderHash,
			Tentative:  r.Tentative,
			TailHash:   r.TailHash,
			Parked:     r.Parked,
			Diverged:   r.Diverged,
			Forked:     list(r.Forked),
			WaitingFor: list(r.WaitingFor),
			Clocks:     dict(r.Clocks),
			Replicas:   replicas,
			Links:      links,
		})
	}
	return line
}

func list(names []string) []string {
	if names == nil {
		return []string{}
	}
	return names
}

func dict(counts map[string]uint64) map[string]uint64 {
	if counts == nil {
		return map[string]uint64{}
	}
	return counts
}

// roomWords tells of a room on lines of their own.
func roomWords(say func(format string, args ...any), r chat.RoomStatus) {
	say("  %s (%.12s), %s, %s: %d final, %d not yet", r.Name, r.ID, r.Order, r.State, r.FinalIndex, r.Tentative)
	if r.Diverged > 0 {
		say("    ALARM: from message %d on, the final order here is not that of the other members. The room is frozen on this node:", r.Diverged)
		say("    nothing more becomes final. Keep the data directory as it is, and report this.")
	}
	if len(r.Forked) > 0 {
		say("    Warning: two computers write as %s, or one says different things to different members. It has no say in the order any more.", strings.Join(r.Forked, ", "))
	}
	if r.Parked > 0 {
		say("    %d held back until what they answer is here", r.Parked)
	}
	if len(r.WaitingFor) > 0 {
		say("    waits for %s", strings.Join(r.WaitingFor, ", "))
	}
	switch {
	case r.Leader != "" && r.Order == chat.Lamport:
		say("    nobody orders; %s moves it from epoch to epoch, term %d", r.Leader, r.Term)
	case r.Leader != "":
		say("    led by %s, term %d", r.Leader, r.Term)
	case r.Order == chat.Leader:
		say("    no leader, term %d", r.Term)
	}
	if len(r.Voters) > 0 {
		say("    voters: %s", strings.Join(r.Voters, ", "))
	}
	if len(r.View) > 0 {
		say("    epoch %d, view: %s", r.Epoch, strings.Join(r.View, ", "))
	}
	if r.FinalIndex > 0 && len(r.Replicas) == 0 { // else it stands among them
		say("    order %.12s", r.OrderHash)
	}
	for _, o := range r.Replicas {
		differs := ""
		if o.Diverged {
			differs = ", ALARM: another order than here"
		}
		say("    %s: %d final, order %.12s%s", o.NodeID, o.FinalIndex, o.OrderHash, differs)
	}
	for _, name := range slices.Sorted(maps.Keys(r.Clocks)) {
		say("    clock of %s: %d", name, r.Clocks[name])
	}
}

func statusWords(s chat.Status) string {
	var b strings.Builder
	say := func(format string, args ...any) {
		b.WriteString(terminal.Escape(fmt.Sprintf(format, args...)))
		b.WriteByte('\n')
	}
	say("%s (%s), version %s, up %s", s.NodeID, s.PeerID, s.Version, s.Uptime.Round(time.Second))
	for _, addr := range s.Addrs {
		say("  listens on %s", addr)
	}
	if s.Disk != "ok" {
		say("  disk: %s", s.Disk)
	}
	say("peers: %d", len(s.Peers))
	for _, p := range s.Peers {
		way := "direct"
		if p.Relayed {
			way = "relayed"
		}
		say("  %-16s %-10s %8s  %s  %s", p.Name, p.State, p.RTT.Round(time.Microsecond), way, p.Addr)
	}
	say("rooms: %d", len(s.Rooms))
	for _, r := range s.Rooms {
		roomWords(say, r)
	}
	for _, reason := range slices.Sorted(maps.Keys(s.Refused)) {
		say("refused, %s: %d", reason, s.Refused[reason])
	}
	return b.String()
}
