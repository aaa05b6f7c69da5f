package ui

import (
	"fmt"
	"os"
	"testing"
	"time"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/test"
	"fyne.io/fyne/v2/theme"

	"tertulia/chat"
	"tertulia/node/invite"
)

// manyNearby has as much to offer as a busy network.
func manyNearby() []chat.Nearby {
	return []chat.Nearby{
		{Room: "Book circle", RoomID: "near-1", Node: "bob-laptop", Invite: someInvite(time.Time{})},
		{Room: "A conversation with a name that is quite a bit longer than its place", RoomID: "near-2", Node: "carla", Invite: "x"},
		{Room: "Garden", RoomID: "near-3", Node: "n3", Invite: "y"},
		{Room: "Workshop", RoomID: "near-4", Node: "n4", Invite: "z"},
	}
}

// longInvite is as long as links from a house with several networks are.
func longInvite() string {
	l := invite.Link{Name: "Book circle"}
	for i := range 3 {
		p := invite.Peer{}
		for j := range 4 {
			p.Addrs = append(p.Addrs, fmt.Sprintf("/ip4/192.168.%d.%d/tcp/40123", i, j))
		}
		l.Peers = append(l.Peers, p)
	}
	return l.String()
}

// TestPicturesOfRooms draws what there is around rooms, light and dark, when
// TERTULIA_SHOTS names a directory for the pictures.
func TestPicturesOfRooms(t *testing.T) {
	if os.Getenv("TERTULIA_SHOTS") == "" {
		t.Skip("drawn on request")
	}
	for name, variant := range map[string]fyne.ThemeVariant{"light": theme.VariantLight, "dark": theme.VariantDark} {
		t.Run(name, func(t *testing.T) {
			n := newFakeNode()
			n.nearby, n.link = manyNearby(), longInvite()
			n.view.Username = "Ana"
			s := newStage(t, n)
			s.win.app.Settings().SetTheme(fixedVariant{NewTheme(), variant})
			s.until("rooms nearby", func() bool { return len(s.win.onboarding.near.rooms) == 4 })
			test.Type(s.win.onboarding.invite.entry, "tertulia:ab")
			s.picture(name + "-r1-start")
			n.mu.Lock()
			furnish(n)
			r := n.view.Rooms
			r[0].Typing = []chat.Person{{Name: "Bob"}, {Name: "Carla"}}
			r[0].Total, r[0].FinalIndex = 12345, 12301
			r[0].Waiting = "Waiting for Bob and Carol: nobody else of this room is reachable. Your messages are saved and go out when someone is."
			r[1].Settings.Notify, r[1].Online = chat.NotifyNone, 2
			r[4].Settings.Notify, r[4].Unread, r[4].Typing = chat.NotifyNone, 1204, []chat.Person{{Name: "Bob"}, {Name: "Carla"}, {Name: "Dan"}}
			n.mu.Unlock()
			n.signal()
			s.until("the talk", func() bool { return len(s.win.shown.messages) == len(talk()) })
			s.picture(name + "-r2-rooms")
			room := *s.room("a")
			for what, open := range map[string]func(){
				"r3-about":  func() { s.win.showRoom(room) },
				"r4-switch": func() { s.win.askSwitch(room) },
				"r5-rename": func() { s.win.askRename(room) },
				"r6-leave":  func() { s.win.askLeave(room) },
				"r7-invite": func() { s.win.showInvite(room) },
				"r8-join":   func() { s.win.askJoin(someInvite(time.Now().Add(48 * time.Hour))) },
				"r9-crowd":  func() { s.win.showMembers(room) },
				"ra-new":    s.win.askNewRoom,
				"rb-menu":   func() { s.win.openMenu(fyne.NewPos(1060, 50)) },
			} {
				open()
				s.until(what, s.sheetOpen)
				switch what {
				case "r7-invite":
					s.until("a link", func() bool { return !s.button(tr(textCopyLink)).Disabled() })
				case "r8-join":
					s.until("rooms nearby", func() bool { return len(onTop[*card](s)) == 4 })
				}
				s.picture(name + "-" + what)
				s.closeSheets()
			}
			s.win.showMembers(room)
			s.until("the members", s.sheetOpen)
			s.win.askRemove(room, n.members[1], &sheet{})
			s.picture(name + "-rc-remove")
			s.closeSheets()
		})
	}
}
