package discovery

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	dht "github.com/libp2p/go-libp2p-kad-dht"
	coredisc "github.com/libp2p/go-libp2p/core/discovery"
	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/routing"

	"tertulia/ordering"
)

// dhtPrefix keeps our DHT apart from the public one.
const dhtPrefix = "/tertulia"

// MaxFound is how many devices Find returns at most.
const MaxFound = 32

// Rendezvous is a DHT in which the members of a room find one another. Who does
// not know the room's id cannot ask for it.
type Rendezvous struct {
	dht  *dht.IpfsDHT
	disc *routing.RoutingDiscovery
}

// NewRendezvous returns a DHT on the host, which serves others if server is set
// or the host turns out to be reachable.
func NewRendezvous(h host.Host, server bool, bootstraps []peer.AddrInfo) (*Rendezvous, error) {
	mode := dht.ModeAutoServer
	if server {
		mode = dht.ModeServer
	}
	d, err := dht.New(h, dht.Mode(mode), dht.ProtocolPrefix(dhtPrefix), dht.BootstrapPeers(bootstraps...))
	if err != nil {
		return nil, fmt.Errorf("discovery: make the dht: %w", err)
	}
	return &Rendezvous{d, routing.NewRoutingDiscovery(d)}, nil
}

// Start fills the DHT's table in the background, until Close.
func (r *Rendezvous) Start(ctx context.Context) error {
	if err := r.dht.Bootstrap(ctx); err != nil {
		return fmt.Errorf("discovery: start the dht: %w", err)
	}
	return nil
}

// Close ends all goroutines of the DHT.
func (r *Rendezvous) Close() error { return r.dht.Close() }

// Provide says that this host is in a room.
func (r *Rendezvous) Provide(ctx context.Context, room ordering.RoomID) error {
	if _, err := r.disc.Advertise(ctx, rendezvousKey(room)); err != nil {
		return fmt.Errorf("discovery: provide: %w", err)
	}
	return nil
}

// Find returns hosts that said they are in a room, when the search is over or
// ctx ends.
func (r *Rendezvous) Find(ctx context.Context, room ordering.RoomID) ([]peer.AddrInfo, error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ch, err := r.disc.FindPeers(ctx, rendezvousKey(room), coredisc.Limit(MaxFound))
	if err != nil {
		return nil, fmt.Errorf("discovery: find: %w", err)
	}
	var infos []peer.AddrInfo
	for i := range ch {
		if len(infos) < MaxFound {
			infos = append(infos, i)
		}
	}
	return infos, nil
}

// FindPeer returns the addresses of one peer.
func (r *Rendezvous) FindPeer(ctx context.Context, id peer.ID) (peer.AddrInfo, error) {
	info, err := r.dht.FindPeer(ctx, id)
	if err != nil {
		return peer.AddrInfo{}, fmt.Errorf("discovery: find a peer: %w", err)
	}
	return info, nil
}

// rendezvousKey hides a room's id from those who do not know it.
func rendezvousKey(room ordering.RoomID) string {
	h := sha256.Sum256(append([]byte("tertulia rendezvous"), room[:]...))
	return hex.EncodeToString(h[:])
}
