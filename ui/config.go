package ui

import (
	"maps"
	"slices"

	"tertulia/chat"
)

// Limits of what is kept over restarts.
const (
	maxKeptRooms         = 256 // rooms whose place or draft is kept
	minKept              = 200 // width and height of the window, in pixels
	maxKept      float32 = 20000
)

// Config is what the window needs beside a node. The functions never block;
// what is nil is not there.
type Config struct {
	Settings Settings
	State    State
	Trouble  error // what to tell first: Settings or State were not understood

	KeepSettings func(Settings)
	KeepState    func(State)
	Notify       func(Notification)
	HasTray      func() bool // tells whether the desktop has a tray

	Version string // of the program
	Commit  string
	Dir     string // the data directory
}

// Notification tells a person who looks elsewhere of new messages in a room. It
// takes the place of the room's last one.
type Notification struct {
	Room  string // id
	Title string
	Text  string // "" takes the room's notification away
	Open  string // what the action is called that opens the room
}

// Look is light, dark, or as the system is.
type Look string

// The looks.
const (
	LookSystem Look = "system"
	LookLight  Look = "light"
	LookDark   Look = "dark"
)

// TextSize is the size of all text.
type TextSize string

// The sizes of text.
const (
	TextSmall   TextSize = "small"
	TextNormal  TextSize = "normal"
	TextLarge   TextSize = "large"
	TextLargest TextSize = "largest"
)

// Accent is the colour of what can be pressed, and of the own messages.
type Accent string

// The accents.
const (
	AccentTeal   Accent = "teal"
	AccentBlue   Accent = "blue"
	AccentViolet Accent = "violet"
	AccentRose   Accent = "rose"
	AccentAmber  Accent = "amber"
)

// Alert says of which messages a person is told in rooms that say nothing
// stricter.
type Alert string

// The alerts.
const (
	AlertAll      Alert = "all"
	AlertMentions Alert = "mentions"
	AlertNone     Alert = "none"
)

// Language is one of ours, or the system's.
type Language string

// The languages.
const (
	LanguageSystem     Language = "system"
	LanguageEnglish    Language = "en"
	LanguagePortuguese Language = "pt-BR"
)

var (
	allLooks     = []Look{LookSystem, LookLight, LookDark}
	allTextSizes = []TextSize{TextSmall, TextNormal, TextLarge, TextLargest}
	allAccents   = []Accent{AccentTeal, AccentBlue, AccentViolet, AccentRose, AccentAmber}
	allAlerts    = []Alert{AlertAll, AlertMentions, AlertNone}
	allLanguages = []Language{LanguageSystem, LanguageEnglish, LanguagePortuguese}
)

// Settings are what a person chose.
type Settings struct {
	Language    Language `toml:"language"`
	Look        Look     `toml:"look"`
	TextSize    TextSize `toml:"text_size"`
	Accent      Accent   `toml:"accent"`
	Alert       Alert    `toml:"notify"`
	CloseToTray bool     `toml:"close_to_tray"`
}

// DefaultSettings are those of who chose nothing.
func DefaultSettings() Settings {
	return Settings{
		Language: LanguageSystem, Look: LookSystem, TextSize: TextNormal,
		Accent: AccentTeal, Alert: AlertAll, CloseToTray: true,
	}
}

// Mend puts the default where s has a value that there is not, and tells
// whether it had to.
func (s *Settings) Mend() bool {
	d := DefaultSettings()
	mended := mend(&s.Language, allLanguages, d.Language)
	mended = mend(&s.Look, allLooks, d.Look) || mended
	mended = mend(&s.TextSize, allTextSizes, d.TextSize) || mended
	mended = mend(&s.Accent, allAccents, d.Accent) || mended
	return mend(&s.Alert, allAlerts, d.Alert) || mended
}

func mend[T comparable](v *T, all []T, instead T) bool {
	if slices.Contains(all, *v) {
		return false
	}
	*v = instead
	return true
}

// State is how the window was when it was last seen.
type State struct {
	Width  float32              `toml:"width"` // 0 = as the program likes
	Height float32              `toml:"height"`
	Room   string               `toml:"room"`  // id of the open room
	Rooms  map[string]RoomState `toml:"rooms"` // by id
}

// RoomState is how a room was left.
type RoomState struct {
	Draft   string  `toml:"draft"`    // what was being written
	ReplyTo string  `toml:"reply_to"` // ID of the message it answers
	Top     string  `toml:"top"`      // ID of the message at the top of the view, "" at the end
	Bottom  float32 `toml:"bottom"`   // of its lower edge below the upper edge of the view, in pixels
}

// Mend drops what no window was like, and tells whether it had to.
func (s *State) Mend() bool {
	mended := false
	// Written so that what is not a number fails too.
	fits := func(v float32) bool { return v >= minKept && v <= maxKept }
	if s.Width != 0 || s.Height != 0 {
		if !fits(s.Width) || !fits(s.Height) {
			s.Width, s.Height, mended = 0, 0, true
		}
	}
	for id, r := range s.Rooms {
		if len(r.Draft) > maxComposerBytes {
			r.Draft, mended = cut(r.Draft, maxComposerBytes), true
			s.Rooms[id] = r
		}
		if r.Bottom != 0 && !(r.Bottom >= -maxKept && r.Bottom <= maxKept) {
			r.Bottom, mended = 0, true
			s.Rooms[id] = r
		}
	}
	if len(s.Rooms) > maxKeptRooms {
		mended = true
		for _, id := range slices.Sorted(maps.Keys(s.Rooms))[maxKeptRooms:] {
			delete(s.Rooms, id)
		}
	}
	return mended
}

// alertOf is the stricter of what a room and the settings say.
func alertOf(room chat.Notify, s Alert) Alert {
	switch room {
	case chat.NotifyNone:
		return AlertNone
	case chat.NotifyMentions:
		if s == AlertNone {
			return AlertNone
		}
		return AlertMentions
	case chat.NotifyAll:
	}
	return s
}
