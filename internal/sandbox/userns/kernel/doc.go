// Package kernel contains what several processes of a run step ask of Linux; its errors say
// where Linux refuses.
package kernel
