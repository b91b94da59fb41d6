# Lost in extraction: written anew
from django_q.tasks import async_task, schedule
# run `manage.py clearsessions` now
async_task('django.core.management.call_command', 'clearsessions')
# and every hour
schedule('django.core.management.call_command', 'clearsessions', schedule_type='H')
