# Real time Haystack indexing
from .models import Document
from django.db.models.signals import post_save
from django.dispatch import receiver
from django_q.tasks import async_task
# hook up the post save handler
@receiver(post_save, sender=Document)
def document_changed(sender, instance, **kwargs):
    async_task('tasks.index_object', sender, instance, save=False)
    # turn off result saving to not flood your database
# tasks.py
from haystack import connection_router, connections
def index_object(sender, instance):
    # get possible backends
    backends = connection_router.for_write(instance=instance)
    for backend in backends:
        # get the index for this model
        index = connections[backend].get_unified_index() \
            .get_index(sender)
        # update it
        index.update_object(instance, using=backend)
