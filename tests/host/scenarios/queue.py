"""Who sends invoices through a RabbitMQ, and who writes them. `queue.py FOLDER VERB ...`; whoever is started first makes
the queue, so all say the same about it."""

import os
import sys
import time

QUEUE = "invoices"


def channel(arguments):
    # Debian's, which whoever only checks does not need.
    import pika

    connection = pika.BlockingConnection(pika.ConnectionParameters("127.0.0.1"))
    made = connection.channel()
    made.queue_declare(QUEUE, arguments=arguments)
    return made


def bounded(most):
    """What a queue is told that takes so many and refuses more; 0 takes all."""
    return {"x-max-length": most, "x-overflow": "reject-publish"} if most else None


def produce(rate, most):
    """So many a second, or as many as are taken: where there is a bound, each is confirmed or refused."""
    import pika

    made = channel(bounded(most))
    if most:
        made.confirm_delivery()
    begun, sent, refused = time.monotonic(), 0, 0
    while True:
        try:
            made.basic_publish("", QUEUE, b"x" * 100)
        except pika.exceptions.NackError:
            refused += 1
            if refused == 1:
                print("slowed down", flush=True)
            time.sleep(0.05)
        sent += 1
        ahead = sent / rate - (time.monotonic() - begun)
        if ahead > 0.01:
            made.connection.sleep(ahead)


def consume(most):
    """Confirms them a few at a time."""
    made = channel(bounded(most))
    made.basic_qos(prefetch_count=200)
    for method, _, _ in made.consume(QUEUE, inactivity_timeout=0.1):
        if method and method.delivery_tag % 50 == 0:
            made.basic_ack(method.delivery_tag, multiple=True)


def ask(folder, rate):
    """Asks for so many numbered invoices a second, and keeps a list."""
    made = channel(None)
    begun, number = time.monotonic(), 0
    while True:
        os.close(os.open(f"{folder}/asked/{number}", os.O_CREAT | os.O_WRONLY))
        made.basic_publish("", QUEUE, str(number).encode())
        number += 1
        made.connection.sleep(max(0.0, number / rate - (time.monotonic() - begun)))


def work(folder, confirms):
    """Writes invoices, each in a tenth of a second. One that confirms does so when it is done, and looks first whether
    somebody else has done it."""
    made = channel(None)
    if confirms:
        made.basic_qos(prefetch_count=1)
    for method, _, body in made.consume(QUEUE, auto_ack=not confirms):
        file = f"{folder}/done/{body.decode()}"
        if not (confirms and os.path.exists(file) and os.path.getsize(file)):
            time.sleep(0.1)
            with open(file, "a") as invoice:
                invoice.write("x")
        if confirms:
            made.basic_ack(method.delivery_tag)


def check(folder):
    """Whether all that was asked for four seconds ago or earlier was done, and once."""
    late = time.time() - 4
    for number in os.listdir(f"{folder}/asked"):
        done = f"{folder}/done/{number}"
        times = os.path.getsize(done) if os.path.exists(done) else 0
        if times > 1:
            sys.exit(f"invoice {number} was done {times} times")
        if times == 0 and os.path.getmtime(f"{folder}/asked/{number}") < late:
            sys.exit(f"invoice {number} was not done")


FOLDER, VERB, *NUMBERS = sys.argv[1:]
{
    "produce": produce,
    "consume": consume,
    "ask": lambda *numbers: ask(FOLDER, *numbers),
    "work": lambda *numbers: work(FOLDER, *numbers),
    "check": lambda: check(FOLDER),
}[VERB](*map(int, NUMBERS))
