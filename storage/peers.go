package storage

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"tertulia/ordering"
)

// Limits of the peers kept.
const (
	MaxPeers     = 1024 // the last seen stay
	MaxPeerAddrs = 32   // of one peer; the first stay
)

// Peer is a device that this node has met.
type Peer struct {
	Device ordering.DeviceKey
	Name   string
	Addrs  []string
	SeenMS int64 // Unix time
}

// SavePeer keeps what is known of a peer in place of what was known before.
func (s *Store) SavePeer(ctx context.Context, device ordering.DeviceKey, name string, addrs []string, seenMS int64) error {
	lines := strings.Join(addrs[:min(len(addrs), MaxPeerAddrs)], "\n")
	return s.do(ctx, 0, func(ctx context.Context, t *writer) error {
		_, err := t.savePeer.ExecContext(ctx, device[:], name, lines, seenMS)
		if err == nil {
			_, err = t.dropOldPeers.ExecContext(ctx, MaxPeers)
		}
		if err != nil {
			return fmt.Errorf("storage: keep peer %s: %w", name, err)
		}
		return nil
	})
}

// Peers returns the peers kept, the last seen first.
func (s *Store) Peers(ctx context.Context) ([]Peer, error) {
	return query(ctx, s.stmts.peers, "peers", func(rows *sql.Rows) (p Peer, err error) {
		var device []byte
		var lines string
		err = rows.Scan(&device, &p.Name, &lines, &p.SeenMS)
		copy(p.Device[:], device)
		if lines != "" {
			p.Addrs = strings.Split(lines, "\n")
		}
		return p, err
	})
}
