/* See nsm.c. */
#ifndef SYMPHONY_NSM_H
#define SYMPHONY_NSM_H

#define NSM_DEVICE "/dev/nsm"

/* Answers the requests of `client` from `device` until it goes or breaks the framing. Neither is closed. */
void nsm_serve(int device, int client);

#endif
