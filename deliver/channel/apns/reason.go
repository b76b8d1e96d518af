package apns

import (
	"github.com/sideshow/apns2"

	"github.com/carillon-push/carillon/deliver/channel"
)

// outcomes is what Apple's documented reasons mean for a device. ExpiredProviderToken is here for when a new token is
// refused too: a clock is wrong, this machine's or the key's.
//
// What a wrong topic or environment does is Denied, as far as Apple can tell it from a wrong token. BadDeviceToken it cannot:
// the tokens of an app that was signed for development are bad in production, and the other way round. DeviceTokenNotForTopic
// forgets no device for that reason: it is what every device gets when the topic is another app's.
var outcomes = map[string]channel.Outcome{
	apns2.ReasonBadDeviceToken:     channel.Gone,
	apns2.ReasonUnregistered:       channel.Gone,
	apns2.ReasonExpiredToken:       channel.Gone,
	apns2.ReasonMissingDeviceToken: channel.Gone,

	apns2.ReasonBadCollapseID:          channel.Refused,
	apns2.ReasonBadExpirationDate:      channel.Refused,
	apns2.ReasonBadMessageID:           channel.Refused,
	apns2.ReasonBadPriority:            channel.Refused,
	apns2.ReasonDeviceTokenNotForTopic: channel.Refused,
	apns2.ReasonDuplicateHeaders:       channel.Refused,
	apns2.ReasonInvalidPushType:        channel.Refused,
	apns2.ReasonPayloadEmpty:           channel.Refused,
	apns2.ReasonPayloadTooLarge:        channel.Refused,
	apns2.ReasonBadPath:                channel.Refused,
	apns2.ReasonMethodNotAllowed:       channel.Refused,

	apns2.ReasonBadTopic:                  channel.Denied,
	apns2.ReasonMissingTopic:              channel.Denied,
	apns2.ReasonTopicDisallowed:           channel.Denied,
	apns2.ReasonBadCertificate:            channel.Denied,
	apns2.ReasonBadCertificateEnvironment: channel.Denied,
	apns2.ReasonExpiredProviderToken:      channel.Denied,
	apns2.ReasonForbidden:                 channel.Denied,
	apns2.ReasonInvalidProviderToken:      channel.Denied,
	apns2.ReasonMissingProviderToken:      channel.Denied,
	"BadEnvironmentKeyIdInToken":          channel.Denied,
	"UnrelatedKeyIdInToken":               channel.Denied,

	apns2.ReasonIdleTimeout:                 channel.Later,
	apns2.ReasonTooManyProviderTokenUpdates: channel.Later,
	apns2.ReasonTooManyRequests:             channel.Later,
	apns2.ReasonInternalServerError:         channel.Later,
	apns2.ReasonServiceUnavailable:          channel.Later,
	apns2.ReasonShutdown:                    channel.Later,
}

// undocumented is what a status means whose reason is none that Apple documents.
func undocumented(status int) channel.Outcome {
	switch {
	case status == 410:
		return channel.Gone
	case status == 401, status == 403:
		return channel.Denied
	case status == 429, status >= 500:
		return channel.Later
	default:
		return channel.Refused
	}
}
