package ui

import (
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
)

// maxNamed is how many persons a sentence names; it counts the others.
const maxNamed = 3

// waitingText says who has no say in the order any more, whom a joined room waits
// for, what becomes of messages meanwhile and what to do; "" when there is nothing
// to say. What a room that is not joined waits for stands in its state.
func waitingText(r *chat.Room, peers []chat.Peer, who writers) string {
	if r.State != chat.Joined {
		return ""
	}
	text := nodeText(r.Waiting)
	if len(r.WaitsFor) > 0 {
		text = waitingFor(r.WaitsFor, r.Online, holdsBack(r), peers, who)
	}
	if len(r.Forked) == 0 {
		return text
	}
	forked := plural(pluralForked, pluralForkedFallback, len(r.Forked), args{"Names": textOfNames(who.names(r.Forked))})
	return strings.TrimSpace(forked + " " + text)
}

// waitingFor says that names are waited for; holds, that messages do not become
// final meanwhile. online counts members that can be reached, this one included.
func waitingFor(names []string, online int, holds bool, peers []chat.Peer, who writers) string {
	blanks := args{"Names": textOfNames(who.names(names))}
	switch {
	case online <= 1:
		return tr(textWaitingNobody, blanks)
	case len(awayOf(names, peers)) == 0:
		return plural(pluralWaitingAnswer, pluralWaitingAnswerFallback, len(names), blanks)
	case holds:
		return plural(pluralWaitingReach, pluralWaitingReachFallback, len(names), blanks)
	}
	return plural(pluralAway, pluralAwayFallback, len(names), blanks)
}

// holdsBack says that members who are away keep messages from becoming final:
// without a leader any of them does, with one only as many as leave no majority.
func holdsBack(r *chat.Room) bool {
	return r.Total > r.FinalIndex && (r.Order != chat.Leader || 2*r.Online <= r.Members)
}

// awayOf is those of names that are not connected.
func awayOf(names []string, peers []chat.Peer) []string {
	connected := make(map[string]bool, len(peers))
	for i := range peers {
		connected[peers[i].Name] = peers[i].State == chat.PeerConnected
	}
	var away []string
	for _, name := range names {
		if !connected[name] {
			away = append(away, name)
		}
	}
	return away
}

// nodeText is what a node says, in our language where it is a sentence that the
// window knows.
func nodeText(text string) string {
	switch text {
	case textOnlyOne, textNoMember:
		return tr(text)
	}
	return visibleLine(text)
}

// networkText is the connection in words, and the colour of the dot before them.
func networkText(v *chat.View) (string, fyne.ThemeColorName) {
	if !v.Healthy {
		if v.Network == "" {
			return tr(textDiskTrouble), theme.ColorNameError
		}
		return visibleLine(v.Network), theme.ColorNameError
	}
	if v.Network == "" {
		return tr(textConnecting), colorOffline
	}
	switch online := connectedMembers(v); {
	case online > 0:
		return plural(pluralConnected, pluralConnectedFallback, online, args{"Count": count(uint64(online))}), colorOnline
	case hasCompany(v.Rooms):
		return tr(textNobody), colorOffline
	}
	return tr(textNotConnected), colorOffline
}

// connectedMembers counts whom of our rooms we are connected with; whoever else
// is connected is no company.
func connectedMembers(v *chat.View) int {
	online, members := 0, 0
	for i := range v.Peers {
		if v.Peers[i].State == chat.PeerConnected {
			online++
		}
	}
	for i := range v.Rooms {
		members += max(v.Rooms[i].Online-1, 0)
	}
	return min(online, members)
}

// hasCompany says that there is somebody to be connected with.
func hasCompany(rooms []chat.Room) bool {
	for i := range rooms {
		if rooms[i].Members > 1 || rooms[i].State == chat.Joining {
			return true
		}
	}
	return false
}

// textOfNames joins names as a sentence does, and counts what is too many to name.
func textOfNames(names []string) string {
	shown := make([]string, 0, maxNamed)
	for _, name := range names[:min(len(names), maxNamed)] {
		shown = append(shown, visibleLine(name))
	}
	if more := len(names) - len(shown); more > 0 {
		return tr(textMoreNames, args{"Names": strings.Join(shown, ", "), "Count": count(uint64(more))})
	}
	if len(shown) < 2 {
		return strings.Join(shown, "")
	}
	last := len(shown) - 1
	return tr(textLastName, args{"Names": strings.Join(shown[:last], ", "), "Last": shown[last]})
}
