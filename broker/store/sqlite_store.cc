#include <sqlite3.h>
#include <sys/stat.h>

#include <condition_variable>
#include <deque>
#include <future>
#include <mutex>
#include <thread>

#include "broker/store/schema.h"
#include "broker/store/sqlite_tx.h"

namespace jitwg::store {
namespace {

// More would only make the first of the batch wait for the last.
constexpr size_t kBatch = 64;

class SqliteStore final : public Store {
 public:
  explicit SqliteStore(std::unique_ptr<SQLite::Database> database)
      : database_(std::move(database)), tx_(*database_), thread_([this] { work(); }) {}

  ~SqliteStore() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    wake_.notify_one();
    thread_.join();
  }

  void submit(Task task, Done done) override {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back({std::move(task), std::move(done), {}});
    }
    wake_.notify_one();
  }

 private:
  struct Job {
    Task task;
    Done done;
    Result<void> result;
  };

  void work() {
    for (;;) {
      std::vector<Job> batch;
      {
        std::unique_lock lock(mutex_);
        wake_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
        if (queue_.empty()) return;
        while (!queue_.empty() && batch.size() < kBatch) {
          batch.push_back(std::move(queue_.front()));
          queue_.pop_front();
        }
      }
      // Nobody may hear of an effect that is not durable: if the commit fails, every task of the
      // batch has failed.
      if (Result<void> all = run_batch(batch); !all) {
        roll_back();
        for (Job& job : batch) job.result = all;
      }
      for (Job& job : batch) job.done(std::move(job.result));
    }
  }

  Result<void> run_batch(std::vector<Job>& batch) {
    JITWG_TRY(execute("BEGIN"));
    for (Job& job : batch) {
      JITWG_TRY(execute("SAVEPOINT task"));
      job.result = job.task(tx_);
      // SQLite ends the whole transaction by itself on a full disk and the like: then nothing of it
      // stands.
      if (sqlite3_get_autocommit(database_->getHandle()) != 0)
        return fail(Code::io, "the broker's database gave up the transaction",
                    job.result ? "" : job.result.error().render());
      if (!job.result) JITWG_TRY(execute("ROLLBACK TO task"));
      JITWG_TRY(execute("RELEASE task"));
    }
    return execute("COMMIT");
  }

  Result<void> execute(const char* text) {
    return guarded([&]() -> Result<void> {
      tx_.sql().execute(text);
      return {};
    });
  }

  void roll_back() {
    if (sqlite3_get_autocommit(database_->getHandle()) == 0) database_->tryExec("ROLLBACK");
  }

  std::unique_ptr<SQLite::Database> database_;
  SqliteTx tx_;
  std::mutex mutex_;
  std::condition_variable wake_;
  std::deque<Job> queue_;
  bool stopping_ = false;
  std::thread thread_;  // last: it uses all of the above
};

std::string one_text(SQLite::Database& database, const char* text) {
  SQLite::Statement statement(database, text);
  return statement.executeStep() ? statement.getColumn(0).getString() : std::string();
}

Result<void> migrate(SQLite::Database& database) {
  const int version = database.execAndGet("PRAGMA user_version").getInt();
  if (version < 0 || static_cast<size_t>(version) > kMigrations.size())
    return fail(Code::unsupported_version,
                "the broker's database has version " + std::to_string(version) +
                    ", this program knows " + std::to_string(kMigrations.size()),
                "start the newer program again");
  for (size_t next = static_cast<size_t>(version); next < kMigrations.size(); ++next) {
    SQLite::Transaction transaction(database);
    database.exec(kMigrations[next]);
    database.exec("INSERT INTO migrations VALUES (" + std::to_string(next + 1) + ", unixepoch())");
    database.exec("PRAGMA user_version = " + std::to_string(next + 1));
    transaction.commit();
  }
  return {};
}

}  // namespace

Result<void> run(Store& store, Store::Task task) {
  std::promise<Result<void>> promise;
  store.submit(std::move(task),
               [&promise](Result<void> result) { promise.set_value(std::move(result)); });
  return promise.get_future().get();
}

Result<std::unique_ptr<Store>> open_sqlite(const std::string& path) {
  const mode_t before = ::umask(077);
  auto opened = guarded([&]() -> Result<std::unique_ptr<Store>> {
    auto database =
        std::make_unique<SQLite::Database>(path, SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    database->setBusyTimeout(2000);
    database->exec("PRAGMA synchronous = FULL");
    database->exec("PRAGMA foreign_keys = ON");
    if (one_text(*database, "PRAGMA journal_mode = WAL") != "wal" && path != ":memory:")
      return fail(Code::io, "the broker's database " + path + " cannot have a write-ahead log");
    if (const std::string verdict = one_text(*database, "PRAGMA quick_check(1)"); verdict != "ok")
      return fail(Code::corrupt, "the broker's database " + path + " is damaged: " + verdict,
                  "restore it from a backup");
    JITWG_TRY(migrate(*database));
    // Found out now, not at the first request.
    SQLite::Transaction transaction(*database);
    database->exec("PRAGMA user_version = " + std::to_string(kMigrations.size()));
    transaction.commit();
    return std::make_unique<SqliteStore>(std::move(database));
  });
  ::umask(before);
  if (!opened) return within(path, std::move(opened.error()));
  return opened;
}

}  // namespace jitwg::store
