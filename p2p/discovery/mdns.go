package discovery

import (
	"fmt"

	"github.com/libp2p/go-libp2p/core/host"
	"github.com/libp2p/go-libp2p/core/peer"
	"github.com/libp2p/go-libp2p/p2p/discovery/mdns"
)

// mdnsService keeps our nodes apart from those of other programs.
const mdnsService = "_tertulia._udp"

// found is told of each node that answers.
type found func(peer.AddrInfo)

// HandlePeerFound implements mdns.Notifee.
func (f found) HandlePeerFound(info peer.AddrInfo) { f(info) }

// StartMDNS announces the host on the local network and calls each for every
// node it finds there, strangers included, possibly again and again. On an error
// nothing is announced; stop may be called all the same.
func StartMDNS(h host.Host, each func(peer.AddrInfo)) (stop func(), err error) {
	s := mdns.NewMdnsService(h, mdnsService, found(each))
	stop = func() { _ = s.Close() } // it has nothing to say
	if err := s.Start(); err != nil {
		return stop, fmt.Errorf("discovery: start mdns: %w", err)
	}
	return stop, nil
}
