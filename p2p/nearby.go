package p2p

import (
	"context"
	"errors"
	"maps"
	"sync"
	"time"

	"github.com/libp2p/go-libp2p/core/network"
	ma "github.com/multiformats/go-multiaddr"
	manet "github.com/multiformats/go-multiaddr/net"

	"tertulia/ordering"
	"tertulia/p2p/wire"
)

// Limits of asking neighbours, the nodes that mDNS finds.
const (
	foundLasts   = 10 * time.Minute // since mDNS found it last, a node is taken to be there
	maxFound     = 64               // neighbours remembered
	maxAskNearby = 16               // asked at a time
)

// noteFound remembers a neighbour. mu is held.
func (n *Network) noteFound(d ordering.DeviceKey, now time.Time) {
	maps.DeleteFunc(n.found, func(_ ordering.DeviceKey, at time.Time) bool { return now.Sub(at) > foundLasts })
	if _, known := n.found[d]; known || len(n.found) < maxFound {
		n.found[d] = now
	}
}

// neighbours lists the nodes that are taken to be on the local network: those that
// mDNS found, and those connected over it.
func (n *Network) neighbours() []ordering.DeviceKey {
	n.mu.Lock()
	defer n.mu.Unlock()
	near := maps.Clone(n.found)
	for d, l := range n.links {
		if l.cur != nil && l.cur.greeted() && isNear(l.cur.stream.Conn()) && len(near) < maxFound {
			near[d] = time.Time{}
		}
	}
	devices := make([]ordering.DeviceKey, 0, len(near))
	for d := range near {
		devices = append(devices, d)
	}
	return devices
}

// Nearby asks the nodes on the local network which rooms they offer, and returns
// the answers of those that answer before ctx ends.
func (n *Network) Nearby(ctx context.Context) map[ordering.DeviceKey]wire.NearbyReply {
	if n.cfg.NoMDNS {
		return nil
	}
	var mu sync.Mutex
	var wg sync.WaitGroup
	replies := make(map[ordering.DeviceKey]wire.NearbyReply)
	places := make(chan struct{}, maxAskNearby)
	for _, d := range n.neighbours() {
		wg.Go(func() {
			select {
			case places <- struct{}{}:
				defer func() { <-places }()
			case <-ctx.Done():
				return
			}
			reply, err := n.askNearby(ctx, d)
			if err != nil {
				n.log.Debug("neighbour does not answer", "peer", PeerIDOf(d), "err", err)
				return
			}
			mu.Lock()
			defer mu.Unlock()
			replies[d] = reply
		})
	}
	wg.Wait()
	return replies
}

func (n *Network) askNearby(ctx context.Context, d ordering.DeviceKey) (wire.NearbyReply, error) {
	id, err := idOf(d)
	if err != nil {
		return wire.NearbyReply{}, err
	}
	return exchange[wire.NearbyReply](ctx, n, id, protocolNearby, &wire.NearbyRequest{}, requestWait)
}

// serveNearby answers who is on the same network, and nobody else.
func (n *Network) serveNearby(s network.Stream, d ordering.DeviceKey) {
	known := n.knows(d)
	release, ok := n.gates.nearby.enter(d, known)
	if !ok || !isNear(s.Conn()) || !n.gates.asked.take(d, known, time.Now()) {
		if ok {
			release()
		}
		_ = s.Reset()
		return
	}
	defer release()
	c := newCall(n.ctx, s)
	_, err := request[*wire.NearbyRequest](n, d, c, n.idle)
	if err == nil {
		reply := n.cfg.Handler.ServeNearby(n.ctx, d)
		err = errors.Join(c.send(&reply), c.flush())
	}
	c.end(err)
}

// isNear reports whether a connection is a direct one to a private address, as on a
// local network or this machine.
func isNear(c network.Conn) bool {
	a := c.RemoteMultiaddr()
	if _, err := a.ValueForProtocol(ma.P_CIRCUIT); err == nil {
		return false
	}
	return manet.IsPrivateAddr(a) || manet.IsIPLoopback(a) || manet.IsIP6LinkLocal(a)
}
