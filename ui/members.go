package ui

import (
	"context"
	"slices"
	"strings"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// withMembers asks for the members of a room, then hands them over.
func (w *Window) withMembers(room string, use func([]chat.Member)) {
	var members []chat.Member
	w.loop.act(func(ctx context.Context) (err error) {
		members, err = w.loop.node.Members(ctx, room)
		return err
	}, func(err error) {
		if err != nil {
			w.notice.fail(err)
			return
		}
		use(members)
	})
}

// founder is who started the room, "" while that is not known here, and
// whether it is this computer, which alone may then change name, order and
// membership.
func founder(members []chat.Member) (name string, self bool) {
	i := slices.IndexFunc(members, func(m chat.Member) bool { return m.Creator })
	if i < 0 {
		return "", false
	}
	return members[i].Name, members[i].Self
}

func (w *Window) showMembers(room chat.Room) {
	w.withMembers(room.ID, func(members []chat.Member) {
		var s *sheet
		_, rules := founder(members)
		list, who := column(6), w.writers(room.ID)
		for _, m := range members {
			copying := newIconButton(tr(textCopy), theme.ContentCopyIcon(), func() { w.app.Clipboard().SetContent(m.Fingerprint) })
			buttons := container.NewHBox(copying)
			if rules && !m.Self {
				buttons.Add(newIconButton("", theme.DeleteIcon(), func() { w.askRemove(room, m, s) }))
			}
			list.Add(container.NewBorder(nil, nil, nil, container.NewCenter(buttons), memberCard(&m, who)))
		}
		about := paragraph(tr(textMembersAbout), theme.SizeNameCaptionText, colorMuted, false)
		scroll := container.NewVScroll(padded(0, 0, 8, 0, list))
		scroll.SetMinSize(fyne.NewSize(sizeForm, roomFor(w.win.Canvas(), min(list.MinSize().Height, 380))))
		s = newSheet(w.win, tr(textMembers), tr(textClose), "", column(4, about, scroll), nil)
		s.show()
	})
}

func memberCard(m *chat.Member, who writers) *card {
	notes := []string{presenceName(m)}
	if m.Self {
		notes[0] = tr(textMemberYou)
	}
	if m.Creator {
		notes = append(notes, tr(textMemberCreator))
	}
	c := cardWords{who: who.key(m.Name, m.PeerID), title: visibleLine(who.both(m.Name)), note: strings.Join(notes, ", "), below: visibleLine(m.Fingerprint), mono: true, dot: colorDay}
	if m.Self || m.State == chat.PeerConnected {
		c.dot = colorOnline
	}
	return newCard(c)
}

func presenceName(m *chat.Member) string {
	switch m.State {
	case chat.PeerConnected:
		return tr(textPresent)
	case chat.PeerSuspected:
		return tr(textSuspected)
	case chat.PeerJoined, chat.PeerLeft, chat.PeerForked:
	}
	return tr(textAbsent)
}

// askRemove asks before a member is removed, over the sheet of the members.
func (w *Window) askRemove(room chat.Room, m chat.Member, members *sheet) {
	var s *sheet
	s = newSheet(w.win, tr(textRemoveTitle, args{"Name": visibleLine(m.Name)}), tr(textCancel), tr(textRemove),
		paragraph(tr(textRemoveSure, args{"Name": visibleLine(m.Name), "Room": visibleLine(room.Name)}), theme.SizeNameText, colorMuted, false),
		func() {
			s.act.Disable()
			w.loop.act(func(ctx context.Context) error { return w.loop.node.RemoveMember(ctx, room.ID, m.PeerID) }, func(err error) {
				s.done(err)
				if err == nil {
					members.hide()
					w.showMembers(room)
				}
			})
		})
	s.act.Importance = widget.DangerImportance
	s.first = s.dismiss
	s.show()
}
