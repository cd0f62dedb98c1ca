// The signer's event loop: poll(2) over one Unix socket. Answers of one round leave after one ledger sync, so many
// clients share a disk flush. No thread, no Asio: this is the process that holds the CA key.
#pragma once

#include "broker/base/time.h"
#include "broker/os/fd.h"
#include "ssh-ca/signer/signer.h"

namespace jitwg::signer {

// Serves until `stop` is readable (a signalfd). Signals read there: SIGTERM, SIGINT end it; SIGHUP calls `on_hup`.
// `before_answers` is called with the round's time before its questions are answered.
// io when the ledger cannot be written: then nothing more may be signed, and the process must end.
Result<void> serve(Signer& signer, const Fd& listener, const Fd& signals, const Clock& clock,
                   const std::function<void()>& on_hup, const std::function<void(WallTime)>& before_answers);

}  // namespace jitwg::signer
