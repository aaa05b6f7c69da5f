package ui

import (
	"embed"
	"fmt"
	"strings"
	"sync"

	"fyne.io/fyne/v2"
	"fyne.io/fyne/v2/lang"
)

//go:embed translations
var translations embed.FS

// speech guards the toolkit's texts, which it reads without a lock of its own:
// the loop makes rows while a person may choose another language.
var speech sync.RWMutex

// speak sets the language of all texts. A text that a language lacks is English.
func speak(l Language) error {
	speech.Lock()
	defer speech.Unlock()
	if err := lang.AddTranslationsFS(translations, "translations"); err != nil {
		return fmt.Errorf("ui: load translations: %w", err)
	}
	system := lang.SystemLocale()
	if l == LanguageSystem {
		l = LanguageEnglish
		if language, _, _ := strings.Cut(system.String(), "-"); language == "pt" {
			l = LanguagePortuguese
		}
	}
	data, err := translations.ReadFile("translations/" + string(l) + ".json")
	if err != nil {
		return fmt.Errorf("ui: load translations: %w", err)
	}
	// The toolkit speaks the system's language and no other, so that is the name
	// under which it has to find the texts of the one chosen.
	if err := lang.AddTranslationsForLocale(data, fyne.Locale(system.LanguageString())); err != nil {
		return fmt.Errorf("ui: load translations: %w", err)
	}
	return nil
}

type args map[string]any

func tr(text string, data ...any) string {
	speech.RLock()
	defer speech.RUnlock()
	return lang.X(text, text, data...)
}

// plural is tr for a text with plural forms.
func plural(key, fallback string, n int, data args) string {
	speech.RLock()
	defer speech.RUnlock()
	return lang.XN(key, fallback, n, data)
}
