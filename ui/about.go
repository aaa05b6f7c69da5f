package ui

import (
	"context"
	"slices"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/container"
	"fyne.io/fyne/v2/layout"
	"fyne.io/fyne/v2/theme"
	"fyne.io/fyne/v2/widget"

	"tertulia/chat"
)

// notifies are the choices of Notify, in the order of their names.
var notifies = []chat.Notify{chat.NotifyAll, chat.NotifyMentions, chat.NotifyNone}

func notifyNames() []string {
	return []string{tr(textNotifyAll), tr(textNotifyMentions), tr(textNotifyNone)}
}

// showRoom tells of a room how its messages get their order, and holds what can
// be set for it.
func (w *Window) showRoom(room chat.Room) {
	w.withMembers(room.ID, func(members []chat.Member) {
		var s *sheet
		by, rules := founder(members)
		name := container.NewBorder(nil, nil, nil, nil, newCard(cardWords{who: room.ID, title: visibleLine(room.Name), below: roomState(&room)}))
		order := container.NewHBox(paragraphOff(orderName(room.Order), theme.SizeNameText, theme.ColorNameForeground, true), layout.NewSpacer())
		if rules {
			rename := newButton(tr(textRename), nil, func() {
				s.hide()
				w.askRename(room)
			})
			name = container.NewBorder(nil, nil, nil, container.NewCenter(rename), name.Objects[0])
			order.Add(newButton(tr(textSwitch), nil, func() {
				s.hide()
				w.askSwitch(room)
			}))
		}
		body := column(2, padded(0, 4, 8, 0, name), field(tr(textOrderLabel), order),
			paragraph(orderAbout(room.Order), theme.SizeNameCaptionText, colorMuted, false))
		if waiting := waitingText(&room, w.shown.view.Peers, w.writers(room.ID)); waiting != "" {
			body.Add(paragraph(waiting, theme.SizeNameCaptionText, colorNoticeText, false))
		}
		if !rules && by != "" {
			body.Add(paragraph(tr(textOnlyCreator, args{"Name": visibleLine(by)}), theme.SizeNameCaptionText, colorMuted, false))
		}
		body.Add(w.settingsForm(&room, func(err error) { s.fail(err) }))
		body.Add(paragraph(tr(textMessagesHeld)+": "+tr(textMessagesFinal, args{"Total": count(room.Total), "Final": count(room.FinalIndex)}),
			theme.SizeNameCaptionText, colorMuted, false))
		scroll := container.NewVScroll(body)
		s = newSheet(w.win, tr(textAbout), tr(textClose), "", scroll, nil)
		body.Resize(fyne.NewSize(sizeForm, body.MinSize().Height)) // wraps, so that its height is known
		scroll.SetMinSize(fyne.NewSize(sizeForm, roomFor(w.win.Canvas(), body.MinSize().Height)))
		s.fit()
		s.show()
	})
}

// settingsForm is what this node alone keeps of a room. Each change is saved at
// once; one after the other, so that the last one stays.
func (w *Window) settingsForm(room *chat.Room, fail func(error)) fyne.CanvasObject {
	var (
		id            = room.ID
		saved, wanted = room.Settings, room.Settings
		saving        bool
	)
	notify := newChoice(slices.Index(notifies, wanted.Notify), notifyNames()...)
	reading := newToggle(tr(textTellRead), !wanted.HideRead)
	nearby := newToggle(tr(textOffer), wanted.Nearby)
	draw := func() {
		notify.set(slices.Index(notifies, wanted.Notify))
		reading.Checked, nearby.Checked = !wanted.HideRead, wanted.Nearby
		reading.Refresh()
		nearby.Refresh()
	}
	var save func()
	save = func() {
		if saving || wanted == saved {
			return
		}
		saving = true
		asked := wanted
		w.saveSettings(id, asked, func(err error) {
			saving = false
			if err != nil {
				wanted = saved
				draw()
				fail(err)
				return
			}
			saved = asked
			save()
		})
	}
	change := func(set func()) {
		set()
		save()
	}
	notify.OnChange = func(i int) { change(func() { wanted.Notify = notifies[i] }) }
	reading.OnChanged = func(on bool) { change(func() { wanted.HideRead = !on }) }
	nearby.OnChanged = func(on bool) { change(func() { wanted.Nearby = on }) }
	return column(2, field(tr(textNotify), padded(0, 0, 8, 8, notify)), reading, nearby,
		paragraph(tr(textOfferAbout), theme.SizeNameCaptionText, colorMuted, false))
}

func (w *Window) saveSettings(room string, s chat.RoomSettings, done func(error)) {
	w.loop.act(func(ctx context.Context) error { return w.loop.node.SetRoomSettings(ctx, room, s) }, done)
}

// askSwitch explains what another order means before it is asked for.
func (w *Window) askSwitch(room chat.Room) {
	to := chat.Leader
	if room.Order == chat.Leader {
		to = chat.Lamport
	}
	part := func(label string, o chat.Order) fyne.CanvasObject {
		return column(-10, paragraph(label+": "+orderName(o), theme.SizeNameText, theme.ColorNameForeground, true),
			paragraph(orderAbout(o), theme.SizeNameText, colorMuted, false))
	}
	var s *sheet
	s = newSheet(w.win, tr(textSwitchTitle), tr(textCancel), tr(textSwitchTo, args{"Order": orderName(to)}),
		column(0, part(tr(textSwitchNow), room.Order), part(tr(textSwitchThen), to),
			paragraph(tr(textSwitchAbout), theme.SizeNameText, theme.ColorNameForeground, false)),
		func() {
			s.act.Disable()
			w.loop.act(func(ctx context.Context) error { return w.loop.node.SwitchOrder(ctx, room.ID, to) }, s.done)
		})
	s.first = s.dismiss
	s.show()
}

func (w *Window) askRename(room chat.Room) {
	name := newEntry(tr(textRoomNameHint))
	name.SetText(room.Name)
	var s *sheet
	submit := func() {
		submitName(name.Text, s.act, func(to string) {
			s.act.Disable()
			w.loop.act(func(ctx context.Context) error { return w.loop.node.RenameRoom(ctx, room.ID, to) }, s.done)
		}, s.fail)
	}
	name.OnSubmitted = func(string) { submit() }
	s = newSheet(w.win, tr(textRenameTitle), tr(textCancel), tr(textRenameDo), column(6, field(tr(textRoomName), name),
		paragraph(tr(textRenameAbout), theme.SizeNameCaptionText, colorMuted, false)), submit)
	s.first = name
	s.show()
	name.TypedShortcut(&fyne.ShortcutSelectAll{})
}

func (w *Window) askLeave(room chat.Room) {
	w.withMembers(room.ID, func(members []chat.Member) {
		words := tr(textLeaveSure, args{"Room": visibleLine(room.Name)})
		if _, rules := founder(members); rules && len(members) > 1 {
			words += " " + tr(textLeaveRuler)
		}
		var s *sheet
		s = newSheet(w.win, tr(textLeave), tr(textCancel), tr(textLeaveConfirm),
			paragraph(words, theme.SizeNameText, colorMuted, false),
			func() {
				s.act.Disable()
				w.loop.act(func(ctx context.Context) error { return w.loop.node.LeaveRoom(ctx, room.ID) }, s.done)
			})
		s.act.Importance = widget.DangerImportance
		s.first = s.dismiss
		s.show()
	})
}

// openMenu offers what can be done with the open room, below its menu button.
func (w *Window) openMenu(at fyne.Position) {
	if room, ok := w.shown.openRoom(); ok {
		w.roomMenu(room, at)
	}
}

// roomMenu offers what can be done with a room; what its creator alone can do,
// to its creator alone.
func (w *Window) roomMenu(room chat.Room, at fyne.Position) {
	w.withMembers(room.ID, func(members []chat.Member) {
		_, rules := founder(members)
		popMenu(w.win.Canvas(), at, w.roomMenuItems(room, rules)...)
	})
}

func (w *Window) roomMenuItems(room chat.Room, rules bool) []*fyne.MenuItem {
	items := []*fyne.MenuItem{fyne.NewMenuItem(tr(textAbout), func() { w.showRoom(room) })}
	if room.ID == w.shown.room {
		items = append(items, fyne.NewMenuItem(tr(textNetwork), w.openNetwork), fyne.NewMenuItem(tr(textSearch), w.openFinder))
	}
	items = append(items, fyne.NewMenuItem(tr(textMembers), func() { w.showMembers(room) }))
	if room.State == chat.Joined {
		items = append(items, fyne.NewMenuItem(tr(textInvite), func() { w.showInvite(room) }))
	}
	items = append(items, fyne.NewMenuItemSeparator())
	for i, name := range []string{tr(textMenuAll), tr(textMenuMentions), tr(textMenuMute)} {
		item := fyne.NewMenuItem(name, func() {
			s := room.Settings
			s.Notify = notifies[i]
			w.saveSettings(room.ID, s, w.failed)
		})
		item.Checked = room.Settings.Notify == notifies[i]
		items = append(items, item)
	}
	items = append(items, fyne.NewMenuItemSeparator())
	if rules {
		items = append(items, fyne.NewMenuItem(tr(textRename), func() { w.askRename(room) }))
	}
	return append(items, fyne.NewMenuItem(tr(textLeave), func() { w.askLeave(room) }))
}
